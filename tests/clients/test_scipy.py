"""scipy, whose `workers` are a pool's `map` or a number of processes."""

import pytest

PACKAGE = "scipy"
pytestmark = pytest.mark.slow


def test_workers_may_be_the_map_of_a_pool(prints) -> None:
    assert prints("""
        from multiprocessing import Pool
        from scipy.optimize import differential_evolution, rosen

        if __name__ == "__main__":
            bounds = [(0, 2)] * 3
            options = {"updating": "deferred", "rng": 1, "maxiter": 20, "polish": False}
            alone = differential_evolution(rosen, bounds, **options)
            with Pool(2) as pool:
                shared = differential_evolution(
                    rosen, bounds, workers=pool.map, **options
                )
            print((alone.x == shared.x).all(), alone.nfev == shared.nfev)
    """) == ["True True"]


def test_workers_may_be_a_number(prints) -> None:
    assert prints("""
        from scipy.optimize import brute

        def square(point):
            return (point[0] - 3) ** 2

        if __name__ == "__main__":
            print(*brute(square, [(0, 6)], Ns=7, finish=None, workers=2).ravel())
    """) == ["3.0"]
