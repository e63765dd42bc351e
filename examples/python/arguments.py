"""Arguments by position and by name.

`args` and `kwargs` reach the target as if it had been called here. They are
copies: a change that the child makes to its list is not seen in the parent.
"""

import multiprocessing


def order(
    drink: str,
    cups: int = 1,
    *extras: str,
    sugar: bool = False,
    guests: list[str] | None = None,
) -> None:
    """Prints an order, and adds the cook to its own copy of the guests."""
    guests = [] if guests is None else guests
    guests.append("the cook")
    parts = [f"{cups} x {drink}", *extras, "with sugar" if sugar else "without sugar"]
    print(f"{', '.join(parts)}, for {' and '.join(guests)}", flush=True)


def run(*args, **kwargs) -> None:
    """Places one order in a process of its own."""
    process = multiprocessing.Process(target=order, args=args, kwargs=kwargs)
    process.start()
    process.join()


if __name__ == "__main__":
    guests = ["Ada", "Grace"]
    run("tea")
    run("tea", 2)
    run("tea", 2, "milk", "lemon")
    run("coffee", sugar=True)
    run("coffee", 3, "cream", sugar=True, guests=guests)
    print(f"guests in the main process: {' and '.join(guests)}")
