"""Bars that show how far a map is."""

import io
import queue
import re
import sys
import textwrap
import threading

import pytest
import script
from library import PATIENCE
from targets import death as death_targets
from targets import pool as targets

pytestmark = pytest.mark.procession_only("its maps show nothing")

tqdm = pytest.importorskip("tqdm")


@pytest.fixture(scope="module", autouse=True)
def first_bar(lib):
    """Draws a bar before the first test: tqdm gets a lock, which is kept."""
    from procession.pool import ThreadPool

    with ThreadPool(1) as pool:
        pool.map(abs, [1], progress={"file": io.StringIO()})


class Screen(io.StringIO):
    """What a bar is drawn on; whoever waits for a line of it gets it when it is drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def write(self, text: str) -> int:
        self.lines.put(text)
        return super().write(text)

    def wait_for(self, text: str) -> None:
        while text not in self.lines.get(timeout=PATIENCE):
            pass

    def last(self) -> str:
        return re.split(r"[\r\n]+", self.getvalue().strip())[-1].strip()


@pytest.fixture
def screen():
    return Screen()


@pytest.fixture
def shown(screen):
    """Returns the options of a bar that draws all that it is told."""
    return {"file": screen, "mininterval": 0, "ascii": True}


@pytest.mark.parametrize("chunksize", [None, 1, 4])
def test_map_shows_all_its_inputs(mp, screen, shown, chunksize) -> None:
    with mp.Pool(2) as pool:
        values = pool.map(targets.square, range(10), chunksize, progress=shown)
    assert values == [n * n for n in range(10)]
    assert screen.last().startswith("100%|##########| 10/10 [")
    # How long it has taken, and will take.
    assert re.search(r" \d/10 \[00:\d\d<00:\d\d, ", screen.getvalue())
    assert "failed" not in screen.getvalue()


@pytest.mark.parametrize("use", ["imap", "imap_unordered"])
@pytest.mark.parametrize("chunksize", [1, 3])
def test_imap_counts_what_nobody_knew_the_number_of(
    mp, screen, shown, use, chunksize
) -> None:
    inputs = (n for n in range(10))
    with mp.Pool(2) as pool:
        results = getattr(pool, use)(targets.square, inputs, chunksize, progress=shown)
        assert sorted(results) == [n * n for n in range(10)]
    assert screen.last().startswith("10it [")


def test_starmaps_and_results_to_come_are_shown(mp, screen, shown) -> None:
    with mp.Pool(2) as pool:
        assert pool.starmap(targets.add, [(1, 2)] * 3, progress=shown) == [3] * 3
        assert screen.last().startswith("100%|##########| 3/3")
        later = pool.starmap_async(targets.add, [(1, 2)] * 4, progress=shown)
        assert later.get(PATIENCE) == [3] * 4
        assert screen.last().startswith("100%|##########| 4/4")


def test_map_without_inputs_is_shown_and_ends(mp, screen, shown) -> None:
    with mp.Pool(1) as pool:
        assert pool.map(targets.square, [], progress=shown) == []
        assert list(pool.imap(targets.square, [], progress=shown)) == []
    assert not [bar for bar in tqdm.tqdm._instances if not bar.disable]


@pytest.mark.parametrize("chunksize", [1, 3])
def test_inputs_without_a_result_are_counted(mp, screen, shown, chunksize) -> None:
    with mp.Pool(2) as pool:
        with pytest.raises(ValueError, match="9"):
            pool.map(
                targets.fail_if_odd, [0, 2, 4, 6, 8, 9, 10], chunksize, progress=shown
            )
        # The last chunk has one input.
        failed = {1: 1, 3: 3}[chunksize]
        assert "| 7/7 [" in screen.last()
        assert screen.last().endswith(f"failed={failed}]")
        results = pool.imap(
            targets.fail_if_odd, (n for n in (0, 2, 4, 5)), chunksize, progress=shown
        )
        with pytest.raises(ValueError, match="5"):
            list(results)
        assert screen.last().startswith("4it [")
        assert screen.last().endswith("failed=1]")


@pytest.mark.parametrize("chunksize", [1, 4, None])
def test_errors_among_the_results_are_counted(mp, screen, shown, chunksize) -> None:
    with mp.Pool(2) as pool:
        given = {"on_error": "collect", "progress": shown}
        got = pool.map(targets.fail_if_odd, range(10), chunksize, **given)
        assert [str(each) for each in got] == [str(n) for n in range(10)]
        assert "| 10/10 [" in screen.last()
        assert screen.last().endswith("failed=5]")
        given["progress"] = {**shown, "desc": "again"}
        results = pool.imap(targets.fail_if_odd, range(9), chunksize or 2, **given)
        assert len(list(results)) == 9
        assert screen.last().startswith("again")
        assert screen.last().endswith("failed=4]")


def test_handler_of_a_signal_may_wait_for_results(mp, screen, shown) -> None:
    # In the middle of drawing, with what guards the bar.
    with mp.Pool(1) as pool:
        others = []

        class Drawn(Screen):
            def write(self, text: str) -> int:
                if "1/3" in text and not others:
                    others.append(pool.map(targets.square, [4, 5], 1))
                return super().write(text)

        drawn = Drawn()
        values = pool.map(
            targets.square, [1, 2, 3], 1, progress={**shown, "file": drawn}
        )
        assert (values, others) == ([1, 4, 9], [[16, 25]])
        assert "| 3/3 [" in drawn.last()


def test_task_whose_worker_died_is_counted(lib, mp, screen, shown) -> None:
    with mp.Pool(1) as pool:
        call = [(number, 2) for number in range(4)]
        with pytest.raises(lib.WorkerDied):
            pool.starmap(death_targets.die_if, call, 1, progress=shown)
        assert screen.last().endswith("failed=1]")
        assert "| 4/4 [" in screen.last()
        assert pool.apply(targets.square, (3,)) == 9


def test_bar_goes_on_while_nobody_waits(mp, screen, shown) -> None:
    started, go = mp.Semaphore(0), mp.Event()
    with mp.Pool(1, targets.initialize, (started, go)) as pool:
        threads = threading.enumerate()
        later = pool.map_async(targets.wait_or_square, [1, 2, 3], 1, progress=shown)
        screen.wait_for("| 2/3 [")
        # Nobody looks after the bar but who takes results in, which was there before.
        added = {thread.name for thread in threading.enumerate()} - {
            thread.name for thread in threads
        }
        assert not [name for name in added if "tqdm" in name.lower()]
        assert not later.ready()
        go.set()
        later.wait(PATIENCE)
        screen.wait_for("| 3/3 [")


def test_bar_of_a_pool_that_ends_is_closed(mp, screen, shown) -> None:
    started, go = mp.Semaphore(0), mp.Event()
    with mp.Pool(1, targets.initialize, (started, go)) as pool:
        later = pool.map_async(targets.wait_or_square, [1, 3, 2], 1, progress=shown)
        results = pool.imap(targets.square, iter(range(9)), progress=shown)
        screen.wait_for("| 1/3 [")
        pool.terminate()
        assert later.ready()
        results.close()
    assert not [bar for bar in tqdm.tqdm._instances if not bar.disable]


def test_threads_show_their_maps_too(lib, screen, shown) -> None:
    from procession.pool import ThreadPool

    with ThreadPool(2) as pool:
        assert pool.map(abs, [-1, 2], progress=shown) == [1, 2]
        assert screen.last().startswith("100%|##########| 2/2")
        assert list(pool.imap(abs, (n for n in [-1]), progress=shown)) == [1]
        assert screen.last().startswith("1it [")


@pytest.mark.parametrize("options", [{}, {"chunksize": 2}, {"buffersize": 1}])
def test_map_of_an_executor_is_shown(mp, screen, shown, options) -> None:
    from procession.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(1, mp) as executor:
        values = executor.map(targets.square, range(5), progress=shown, **options)
        assert list(values) == [0, 1, 4, 9, 16]
        assert screen.last().startswith("100%|##########| 5/5")
        careful = executor.with_options(retries=1)
        values = careful.map(
            targets.fail_if_odd, iter([0, 1]), progress=shown, **options
        )
        with pytest.raises(ValueError, match="1"):
            list(values)
        assert "failed=" in screen.last()


def test_results_arrive_though_a_bar_cannot_be_drawn(mp, monkeypatch) -> None:
    told = []
    monkeypatch.setattr(
        sys, "unraisablehook", lambda raised: told.append(str(raised.exc_value))
    )

    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            if "1/3" in text:
                raise OSError("the screen is gone")
            return super().write(text)

    with mp.Pool(1) as pool:
        shown = {"file": Broken(), "mininterval": 0}
        assert pool.map(targets.square, [1, 2, 3], 1, progress=shown) == [1, 4, 9]
    assert told == ["the screen is gone"]
    # Others can still draw.
    assert tqdm.tqdm.get_lock()._count() == 0


def test_what_is_no_option_is_refused_at_the_call(mp) -> None:
    with mp.Pool(1) as pool:
        with pytest.raises(
            TypeError, match="progress must be True, False or a mapping"
        ):
            pool.map(targets.square, [1], progress="yes")
        with pytest.raises(KeyError, match="colr"):
            pool.imap(
                targets.square, [1], progress={"colr": "red", "file": io.StringIO()}
            )
        assert pool.map(targets.square, [3]) == [9]


def test_without_tqdm_the_error_says_what_to_install() -> None:
    text = """
        import sys

        sys.modules["tqdm"] = None

        import procession

        with procession.Pool(1) as pool:
            try:
                pool.map(abs, [1], progress=True)
            except ImportError as error:
                print(error)
            print(pool.map(abs, [-1]))
    """
    code, out, err = script.run([sys.executable, "-c", textwrap.dedent(text)])
    assert (code, err) == (0, "")
    told, values = out.splitlines()
    assert told.endswith("pip install 'procession[progress]'")
    assert values == "[1]"


def test_nothing_of_it_is_imported_by_who_does_not_ask() -> None:
    text = """
        import sys, procession

        with procession.Pool(1) as pool:
            pool.map(abs, [-1])
            print("tqdm" in sys.modules)
            pool.map(abs, [-1], progress=True)
        print("multiprocessing" in sys.modules)
    """
    code, out, _ = script.run([sys.executable, "-c", textwrap.dedent(text)])
    assert (code, out.split()) == (0, ["False", "False"])
