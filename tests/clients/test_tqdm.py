"""tqdm, which shows the progress of executors and pools."""

import pytest

PACKAGE = "tqdm"
pytestmark = pytest.mark.slow


def test_process_map_returns_the_results_in_order(program) -> None:
    code, out, err = program("""
        import os
        from tqdm.contrib.concurrent import process_map

        def work(number):
            return number * number, os.getpid()

        if __name__ == "__main__":
            results = process_map(work, range(12), max_workers=2, chunksize=3)
            print(*(square for square, _ in results))
            print(os.getpid() in {pid for _, pid in results})
    """)
    assert (code, out) == (0, "0 1 4 9 16 25 36 49 64 81 100 121\nFalse\n"), err
    assert "/12 [" in err


def test_progress_of_a_pool_is_shown_by_workers_that_share_a_lock(program) -> None:
    code, out, err = program("""
        from multiprocessing import Pool, RLock
        from tqdm import tqdm

        def work(position):
            return sum(tqdm(range(50), position=position, desc=f"bar {position}"))

        if __name__ == "__main__":
            tqdm.set_lock(RLock())
            shared = {"initializer": tqdm.set_lock, "initargs": (tqdm.get_lock(),)}
            with Pool(2, **shared) as pool:
                print(*tqdm(pool.imap(work, range(3)), total=3))
    """)
    assert (code, out) == (0, "1225 1225 1225\n"), err
    assert "bar 2" in err
    assert "3/3" in err
