"""The program of the first page: a function, called by a pool of five processes."""

import multiprocessing


def double(number: int) -> int:
    return number * 2


if __name__ == "__main__":
    with multiprocessing.Pool(5) as pool:
        print(pool.map(double, [5, 10, 15]))
