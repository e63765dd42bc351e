"""Records that workers log are handled by the handlers of the program."""

import logging
import sys

import procession

logger = logging.getLogger("shop")


def sell(thing: str) -> str:
    if thing == "milk":
        logger.warning("only one %s left", thing)
    return thing.upper()


def relay_of_a_pool() -> None:
    with procession.Pool(2, log_relay=True) as pool:
        things = pool.map(sell, ["bread", "milk"])
        pool.close()
        pool.join()  # All records have been handled now.
    logger.info("sold %s", things)


def relay_of_all() -> None:
    """For all processes and pools that are started inside of the `with`."""
    with procession.relay_logs():
        child = procession.Process(target=sell, args=("milk",), name="till")
        child.start()
        child.join()


if __name__ == "__main__":
    logging.basicConfig(
        stream=sys.stdout,
        level=logging.INFO,
        format="%(levelname)s %(name)s: %(message)s",
    )
    relay_of_a_pool()
    relay_of_all()
