"""Lambdas, local functions and closures as tasks, as a notebook has them."""

import procession


def multiples(factor: int, numbers: list[int]) -> list[int]:
    """Maps a function that is defined here, and uses what is defined here."""

    def times(number: int) -> int:
        return factor * number

    with procession.Pool(2) as pool:
        return pool.map(times, numbers)


if __name__ == "__main__":
    with procession.Pool(2) as pool:
        print("a lambda:", pool.map(lambda number: number * 2, [5, 10, 15]))
    print("a closure:", multiples(3, [1, 2, 3]))
