"""Worker processes: what they are handed, and that they end with the process that asked them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import hermetic
import joblib
import numpy as np
import pytest

from pymer4 import work
from pymer4.work import each_chunk, end_with, map_chunks, one_blas_thread

LONG = {
    "Lmer": """
        pymer4.Lmer._refits = "R"
        data = pymer4.load_dataset("sleepstudy")
        model = pymer4.Lmer("Reaction ~ Days + (Days | Subject)", data).fit
    """,
    "Lm": 'model = pymer4.Lm("y ~ x", data).fit',
    "Lm2": 'model = pymer4.Lm2("y ~ x", data, group="g").fit',
}
SCRIPT = """
    import numpy as np, pandas as pd, pymer4
    rng = np.random.default_rng(1)
    data = pd.DataFrame(rng.normal(size=(20_000, 2)), columns=["x", "y"]).assign(g=np.arange(20_000) % 2000)
    {model}
    model(conf_int="boot", n_boot={n_boot}, n_jobs=2, seed=1, summarize=False)
"""

GONE = 5.0  # seconds in which all of them have to be gone: they look twice a second, on a machine that is busy
BUSY = 2  # seconds of processor time after which a worker is past its start


def group(leader: int) -> dict[int, tuple[int, str]]:
    """Return the living processes of a group: number to seconds of processor time, and command."""
    told = subprocess.run(["ps", "-wweo", "pid=,pgid=,stat=,times=,args="], capture_output=True, text=True, check=True)
    found = {}
    for line in told.stdout.splitlines():
        pid, pgid, state, seconds, *command = line.split(maxsplit=4)
        if int(pgid) == leader and not state.startswith("Z"):
            found[int(pid)] = int(seconds), " ".join(command)
    return found


def busy(leader: int) -> bool:
    """Return whether two workers are at work."""
    return sum(seconds >= BUSY and pid != leader for pid, (seconds, _) in group(leader).items()) >= 2


def waited(condition, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return bool(condition())


@pytest.mark.skipif(os.name != "posix" or shutil.which("ps") is None, reason="needs ps, and processes that have groups")
@pytest.mark.parametrize(
    ("name", "how"),
    [
        pytest.param("Lmer", "SIGKILL", marks=pytest.mark.r),
        ("Lm", "SIGTERM"),
        ("Lm2", "SIGKILL"),
    ],
)
def test_workers_end_with_a_process_that_is_killed(name, how):
    code = textwrap.dedent(SCRIPT).format(model=textwrap.dedent(LONG[name]).strip(), n_boot=1_000_000)
    asking = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stderr=subprocess.PIPE)
    try:
        assert waited(lambda: busy(asking.pid) or asking.poll() is not None, 90)
        assert asking.poll() is None, asking.stderr.read()
        os.kill(asking.pid, getattr(signal, how))
        asking.wait(10)
        assert waited(lambda: not group(asking.pid), GONE), group(asking.pid)
    finally:
        if group(asking.pid):
            os.killpg(asking.pid, signal.SIGKILL)
        asking.stderr.close()


def test_a_process_that_joblib_did_not_start_stays():
    before = work._watching
    end_with(os.getpid())
    assert work._watching == before


def test_a_worker_whose_parent_ended_while_it_started_does_not_begin():
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    with pytest.raises(TerminatedWorkerError):
        Parallel(n_jobs=2)(delayed(end_with)(1) for _ in range(2))


def blas_threads() -> list[int]:
    from threadpoolctl import threadpool_info

    return [found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"]


def test_products_keep_to_one_thread_until_the_last_who_asked_has_left():
    from threadpoolctl import threadpool_limits

    with threadpool_limits(2, "blas"):
        before, one = blas_threads(), [1] * len(blas_threads())
        first, second = one_blas_thread(), one_blas_thread()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert blas_threads() == one
        second.__exit__(None, None, None)
        assert blas_threads() == before
        with one_blas_thread(size=100):  # a few numbers, which wake no threads
            assert blas_threads() == before
        assert set(each_chunk(_threads_of, np.arange(1), 1)[0]) == {1}
        assert set(each_chunk(_threads_of, np.arange(2), 2)[0]) == {1}  # a worker may have fewer libraries
        with pytest.raises(ZeroDivisionError):
            each_chunk(_divided, np.arange(3), 1)
        assert blas_threads() == before


def _threads_of(_: np.ndarray) -> np.ndarray:
    return np.array(blas_threads())


# ------------------------------------------------------------------ chunks


def _doubled(values: np.ndarray) -> np.ndarray:
    return 2 * values


def _slowly(values: np.ndarray) -> np.ndarray:
    time.sleep(0.02 * len(values))
    return 2 * values


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_chunks_come_back_in_order_and_each_is_told_of(n_jobs):
    items, told = np.arange(110), []
    found = map_chunks(_slowly, items, n_jobs, note=told.append)
    assert np.array_equal(found, 2 * items)
    assert len(told) > 2 and np.array_equal(np.concatenate(told), found)


def test_a_chunk_takes_about_a_second():
    sizes = [len(part) for part in each_chunk(_slowly, np.arange(110), 1)]
    assert sizes[0] == 1 and sum(sizes) == 110
    assert all(0.4 <= 0.02 * size <= 1.0 for size in sizes[1:-1]), sizes


def test_there_may_be_nothing_to_do():
    assert [len(part) for part in each_chunk(_doubled, np.arange(0), 1)] == [0]


_BEGUN: list[int] = []


def _begun(items: np.ndarray) -> np.ndarray:
    _BEGUN.append(len(items))
    return _slowly(items)


def test_what_hears_of_chunks_can_stop_them(monkeypatch):
    monkeypatch.setattr(work, "SECONDS", 0.05)
    with joblib.parallel_config(backend="threading"), pytest.raises(ZeroDivisionError) as kept:
        each_chunk(_begun, np.arange(10**5), 2, note=_divided)
    time.sleep(0.3)
    begun = len(_BEGUN)
    time.sleep(0.5)
    assert len(_BEGUN) == begun and kept.traceback


_HELD: list[np.ndarray] = []


def _grown(items: np.ndarray) -> np.ndarray:
    if not _HELD:
        time.sleep(1.1)
    _HELD.append(np.ones(45_000_000 if len(_HELD) == 1 else 0))
    time.sleep(0.6)
    return np.full(len(items), os.getpid())


def test_a_worker_may_grow_as_it_does_when_r_starts():
    """By more than the 300 MB that loky takes for a leak, where there is psutil to see them."""
    hermetic.of_python("psutil")
    assert len(np.unique(map_chunks(_grown, np.arange(8), 2))) == 2


def test_what_a_worker_raises_arrives():
    with pytest.raises(ZeroDivisionError):
        each_chunk(_divided, np.arange(3), 2)


def _divided(values: np.ndarray) -> np.ndarray:
    raise ZeroDivisionError


# A thread of joblib's that is being ended may find its list of tasks empty, and says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_ctrl_c_while_workers_start_is_not_lost(monkeypatch):
    """Python drops what is raised in a fork; the same function gives what it has to afterwards."""
    start, handler = joblib.Parallel.__call__, signal.signal(signal.SIGINT, signal.default_int_handler)

    def pressed(pool, tasks):
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        return start(pool, tasks)

    try:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(joblib.Parallel, "__call__", pressed)
            each_chunk(_slowly, np.arange(100), 2)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, handler)
    assert np.array_equal(map_chunks(_doubled, np.arange(9), 2), 2 * np.arange(9))
