"""Extends Process with arguments: they are attributes, and `run` reads them.

The attributes are set before `start` and cross with the object. What `run`
changes in the child stays in the child: the last line shows it.
"""

import multiprocessing


class Greeter(multiprocessing.Process):
    """Greets one name as often as asked, from a process of its own."""

    def __init__(self, name_to_greet: str, times: int) -> None:
        super().__init__()
        self.name_to_greet = name_to_greet
        self.times = times

    def run(self) -> None:
        while self.times > 0:
            print(f"hello, {self.name_to_greet} ({self.times} to go)", flush=True)
            self.times -= 1


if __name__ == "__main__":
    for name, times in (("Ada", 2), ("Grace", 1)):
        greeter = Greeter(name, times)
        greeter.start()
        greeter.join()
        print(f"here it still is {greeter.times} for {greeter.name_to_greet}")
