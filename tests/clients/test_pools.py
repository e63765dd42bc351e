"""Pools of others, which start their workers by the processes of this package."""

from importlib.util import find_spec

import pytest

pytestmark = pytest.mark.slow


def needs(package: str, how: str = "pip install --group clients"):
    reason = f"{package} is not installed: {how}"
    return pytest.mark.skipif(find_spec(package) is None, reason=reason)


@needs("pebble")
def test_pool_of_pebble_ends_what_takes_too_long(prints) -> None:
    assert prints("""
        import multiprocessing, time
        from concurrent.futures import TimeoutError
        from pebble import ProcessPool

        def square(number):
            return number * number

        def hang():
            time.sleep(60)

        if __name__ == "__main__":
            with ProcessPool(2, context=multiprocessing.get_context()) as pool:
                print(*pool.map(square, range(5)).result())
                try:
                    pool.schedule(hang, timeout=0.2).result()
                except TimeoutError as error:
                    print("too long")
                print(pool.schedule(square, (3,)).result())
    """) == ["0 1 4 9 16", "too long", "9"]


@needs("mpire")
def test_pool_of_mpire_has_shared_objects_and_worker_state(prints) -> None:
    assert prints("""
        import multiprocessing
        from mpire import WorkerPool

        def work(shared, number):
            return shared[number % 2] + number

        def fail(shared, number):
            raise ValueError(number)

        if __name__ == "__main__":
            method = multiprocessing.get_start_method()
            with WorkerPool(2, shared_objects=[10, 20], start_method=method) as pool:
                print(*pool.map(work, range(6)))
                try:
                    pool.map(fail, [7])
                except ValueError as error:
                    print("failed")
    """) == ["10 21 12 23 14 25", "failed"]


SCIKIT_LEARN = """
    import sys
    from joblib import parallel_backend
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    if __name__ == "__main__":
        data, kinds = load_iris(return_X_y=True)
        with parallel_backend(sys.argv[1], n_jobs=2):
            model = LogisticRegression(max_iter=500)
            search = GridSearchCV(model, {"C": [0.1, 1]}, cv=3).fit(data, kinds)
            print(search.best_score_ > 0.9)
"""


@needs("sklearn")
def test_models_of_scikit_learn_are_fitted_in_processes(prints) -> None:
    assert prints(SCIKIT_LEARN, "multiprocessing") == ["True"]


@needs("sklearn")
# It starts its workers in its own way, whatever the start method of the program is.
@pytest.mark.methods("spawn")
def test_models_of_scikit_learn_are_fitted_in_processes_of_loky(prints) -> None:
    assert prints(SCIKIT_LEARN, "loky") == ["True"]


@needs("torch", "pip install torch")
def test_loader_of_torch_has_workers(prints) -> None:
    assert prints("""
        import multiprocessing, torch
        from torch.utils.data import DataLoader, Dataset

        class Numbers(Dataset):
            def __len__(self):
                return 8

            def __getitem__(self, index):
                return torch.tensor([index, index * index])

        if __name__ == "__main__":
            context = multiprocessing.get_context()
            loader = DataLoader(
                Numbers(), batch_size=4, num_workers=2, multiprocessing_context=context
            )
            print([batch[:, 1].tolist() for batch in loader])
    """) == ["[[0, 1, 4, 9], [16, 25, 36, 49]]"]
