"""One program under each start method: what a child has of its parent's memory."""

import procession

# What a child finds here tells whether it is a copy, or has imported this file anew.
setting = "as imported"


def look() -> str:
    return setting


if __name__ == "__main__":
    setting = "changed by the main process"
    for method in procession.get_all_start_methods():
        context = procession.get_context(method)
        child = context.Process(target=look)
        child.start()
        print(f"{method}: {child.result()}")
