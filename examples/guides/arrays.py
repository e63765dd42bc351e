"""Large arrays: read in place by workers, sent once for many tasks, shared between processes."""

import functools

import numpy as np
import procession


def column_sums(table: np.ndarray) -> np.ndarray:
    """Reads its argument where it lies, in shared memory."""
    return table.sum(axis=0)


def send_one(pool, table: np.ndarray) -> None:
    """24 MB go into shared memory once, and the worker's array lies there."""
    print("column sums:", pool.apply(column_sums, (table,)))


def row_sum(table: "procession.Shared[np.ndarray]", row: int) -> float:
    """Reads one row of a table that all tasks share."""
    return float(table.value[row].sum())


def send_once_for_many(pool, table: np.ndarray) -> None:
    """There is one copy for a thousand tasks; they can read it only."""
    of_row = functools.partial(row_sum, procession.Shared(table))
    print("sum of 1,000 rows:", sum(pool.imap_unordered(of_row, range(1000))))


def fill_row(shared, shape: tuple[int, int], row: int) -> None:
    """Writes one row of an array that all processes see."""
    table = np.frombuffer(shared, dtype=np.float64).reshape(shape)
    table[row] = row


def write_together(pool) -> None:
    """Each task writes to its own row, so there is nothing to lock."""
    rows, columns = 4, 3
    shared = procession.RawArray("d", rows * columns)
    tasks = [(shared, (rows, columns), row) for row in range(rows)]
    pool.starmap(fill_row, tasks)
    print("written:", np.frombuffer(shared).reshape(rows, columns)[:, 0])


if __name__ == "__main__":
    ones = np.ones((1_000_000, 3))
    with procession.Pool(2) as pool:
        send_one(pool, ones)
        send_once_for_many(pool, ones)
        write_together(pool)
