"""A program as PyInstaller freezes it: `freeze_support` comes first under the guard."""

import procession


def square(number: int) -> int:
    return number * number


if __name__ == "__main__":
    procession.freeze_support()
    with procession.Pool(2) as pool:
        print("squares:", pool.map(square, range(5)))
