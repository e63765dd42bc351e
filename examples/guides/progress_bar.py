"""A bar that shows how far a map is, and the same by hand."""

import io

import procession


def work(number: int) -> int:
    return number * number


def show_bar(pool) -> None:
    """Draws a bar of tqdm; leave `file` out, and it is drawn on the terminal."""
    screen = io.StringIO()
    options = {"desc": "squares", "file": screen}
    squares = pool.map(work, range(50), progress=options)
    print("sum:", sum(squares), "with a bar:", "50/50" in screen.getvalue())


def count_by_hand(pool) -> None:
    """Counts results as they come, whichever is done first."""
    for done, _result in enumerate(pool.imap_unordered(work, range(4)), start=1):
        print(f"{done} of 4")


if __name__ == "__main__":
    with procession.Pool(2) as pool:
        show_bar(pool)
        count_by_hand(pool)
