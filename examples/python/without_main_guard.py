"""A script without the `if __name__ == "__main__"` guard.

Under `fork` the child is a copy of the process as it stands at `start`, so it
does not read the script again and needs no guard. The other two methods do
read it again, and would get to `start` again.
"""

import multiprocessing

multiprocessing.set_start_method("fork")
print("this line is reached once")


def child(number: int) -> None:
    """Says which of the children it is."""
    print(f"child {number} is a copy of the main process", flush=True)


for number in (1, 2, 3):
    process = multiprocessing.Process(target=child, args=(number,))
    process.start()
    process.join()

print("this line is reached once, too")
