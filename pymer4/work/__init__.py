"""How work is done: seeds, blocks of draws, chunks here or in worker processes, progress.

Results depend on the seed, never on the number of workers. Chunks take about a second. A worker that the asking process
has started ends with it, however that ends: a thread of the worker looks twice a second whether its parent is still
there, also while R or NumPy computes.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError
from typing import Any, TypeAlias

import numpy as np

from pymer4.errors import OptionError, WorkerError, shown
from pymer4.work import cluster
from pymer4.work.interrupts import hold_interrupts

Seed: TypeAlias = int | np.random.Generator | None
"""What makes random numbers repeatable; None for fresh ones."""

BLOCK = 2**16
"""Numbers in one block of resamples: half a megabyte, which stays in the cache of a core."""

Advance = Callable[[int, int], None]
"""Is told how many more are done, and how many of these failed."""

Note = Callable[[Any], None]
"""Gets what each chunk came to, in order, as soon as it is there."""

_A_CORE = 8
"""Workers that this machine is asked for at most, for each of its cores."""

SECONDS = 1.0
"""What a chunk takes, about."""

_FEW = 2**13
_LOOK = 0.5  # seconds
_GROWTH = 2**31  # bytes
_watching = False


def whole_seed(seed: Seed) -> int | None:
    """Return a seed as a whole number, which says all of it, or None; of a Generator one number is drawn."""
    if isinstance(seed, np.random.Generator):
        return int(seed.integers(2**63))
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0):
        allowed = "a whole number of at least 0, a numpy.random.Generator, or None for fresh draws"
        raise OptionError(f"seed={shown(seed)} is not {allowed}.")
    return None if seed is None else int(seed)


def seed_stream(seed: Seed, n: int) -> np.ndarray:
    """Return `n` independent seeds, shape (n,), each one that R and NumPy accept."""
    words = np.random.SeedSequence(whole_seed(seed)).generate_state(n, dtype=np.uint32)
    return (words >> 1).astype(np.int32)


def blocks(seed: Seed, n: int, size: int) -> np.ndarray:
    """Return how `n` draws of `size` numbers each are cut into blocks: one row a block, its seed and its draws.

    The cut depends on `n` and `size` alone, so results do not depend on who works off the blocks.
    """
    most = max(1, BLOCK // max(1, size))
    counts = np.diff(np.append(np.arange(0, n, most), n))
    return np.column_stack([seed_stream(seed, len(counts)), counts]).astype(np.int64)


def generator(seed: Seed) -> np.random.Generator:
    """Return a generator of random numbers; one that is given is used as it is, and moves on."""
    if isinstance(seed, np.random.Generator):
        return seed
    return np.random.default_rng(None if seed is None else seed_stream(seed, 4))


def told_rows(advance: Advance) -> Note:
    """Return what tells `advance` of the rows of each chunk, and how many of them have no number."""
    return lambda part: advance(len(part), int(np.isnan(part).reshape(len(part), -1).all(axis=1).sum()))


def map_chunks(
    work: Callable[..., np.ndarray], items: np.ndarray, n_jobs: int, *fixed: Any, note: Note | None = None
) -> np.ndarray:
    """Return `work(*fixed, chunk)` of every chunk of `items`, one row an item, stacked in order; see `each_chunk`."""
    parts = each_chunk(work, items, n_jobs, *fixed, note=note)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def each_chunk(
    work: Callable[..., Any], items: np.ndarray, n_jobs: int, *fixed: Any, note: Note | None = None
) -> list[Any]:
    """Return `work(*fixed, chunk)` of every chunk of `items`, in order.

    The first chunks are one item each, later ones what takes about a second by the time of those before; towards the
    end they are shorter, so that no worker waits long for another.

    Args:
        work: a module-level function, whose result for an item does not depend on the chunk that it is in.
        items: shape (n, ...).
        n_jobs: workers, as joblib counts them (-1 is all cores); 1 works in this process. Under joblib's backend
            `dask` any other number is all of the cluster.
        *fixed: first arguments of every call.
        note: is told of each chunk.

    Raises:
        OptionError: joblib's fork-based `multiprocessing` backend is in force; R can't be forked once it runs.
        WorkerError: a worker process ended before its work did.
    """
    parts = []
    made = _here(work, items, fixed) if n_jobs == 1 else _in_workers(work, items, fixed, n_jobs)
    # Workers stop when the loop does, also by a Ctrl-C in `note`.
    with contextlib.closing(made):
        for part in made:
            parts.append(part)
            if note is not None:
                note(part)
    return parts


class _Pace:
    """How many of the items that are left make the next chunk."""

    def __init__(self, items: np.ndarray, workers: int = 1):
        self._items, self._workers, self._size = items, workers, 1

    def chunks(self) -> Iterator[np.ndarray]:
        """Yield the items in order; all of them at once where there are none."""
        rest = self._items
        while True:
            share = -(-len(rest) // self._workers)
            size = min(self._size, max(share, self._size // 10))
            chunk, rest = rest[:size], rest[size:]
            yield chunk
            if not len(rest):
                return

    def took(self, size: int, seconds: float) -> None:
        """Take note of a chunk that was worked off."""
        self._size = max(1, int(size * SECONDS / max(seconds, 1e-6)))


def _here(work: Callable[..., Any], items: np.ndarray, fixed: tuple[Any, ...]) -> Generator[Any, None, None]:
    pace = _Pace(items)
    for chunk in pace.chunks():
        size, seconds, part = _timed(work, fixed, chunk)
        pace.took(size, seconds)
        yield part


def _in_workers(
    work: Callable[..., Any], items: np.ndarray, fixed: tuple[Any, ...], n_jobs: int
) -> Generator[Any, None, None]:
    from joblib import Parallel, cpu_count, delayed, effective_n_jobs

    n_jobs = max(1, min(n_jobs, len(items))) if n_jobs > 0 else n_jobs
    backend = Parallel(n_jobs=n_jobs)._backend
    kind = type(backend).__name__
    if kind == "LokyBackend":
        n_jobs = min(n_jobs, _A_CORE * cpu_count())
    if kind == "MultiprocessingBackend":
        raise OptionError(
            "joblib's 'multiprocessing' backend forks this process, and R can't be forked once it runs. "
            "Use backend 'loky' (the default) or n_jobs=1."
        )
    cores, asking = effective_n_jobs(n_jobs), os.getpid()
    pace = _Pace(items, cores)
    answers: Iterable[Any]
    if kind == "DaskDistributedBackend":
        answers = cluster.answers(backend, _timed, (work, fixed), pace.chunks(), 2 * cores)
    else:
        # Some backends of older versions of joblib give no results before they have all.
        soon = "generator" if backend.supports_return_generator else "list"
        pool = Parallel(n_jobs=n_jobs, batch_size=1, pre_dispatch="n_jobs", return_as=soon)
        tasks = (delayed(_answered)(asking, work, fixed, chunk) for chunk in pace.chunks())
        answers = _begun(pool, tasks) if soon == "generator" else pool(tasks)
    try:
        for size, seconds, part in answers:
            pace.took(size, seconds)
            yield part
    except (BrokenExecutor, CancelledError) as error:
        raise WorkerError(
            f"A worker ended before its work did, so there is no result: {str(error).strip()}\n"
            "Mostly its memory was used up: ask for fewer workers, with fewer threads each on a cluster, or work "
            "in this process with n_jobs=1."
        ) from error


def _begun(pool: Any, tasks: Iterator[Any]) -> Generator[Any, None, None]:
    """Return the answers to come of a pool whose workers have started.

    Ctrl-C waits until they have: Python drops an error that is raised in a fork, and half a pool can't be ended.
    """
    answers = None
    try:
        with hold_interrupts(lambda _wanted: None):
            answers = pool(tasks)
    except BaseException as error:
        if answers is None:
            raise
        answers.throw(error)
    return answers


def _answered(asking: int, work: Callable[..., Any], fixed: tuple[Any, ...], chunk: np.ndarray) -> Any:
    end_with(asking)
    return _timed(work, fixed, chunk)


def _timed(work: Callable[..., Any], fixed: tuple[Any, ...], chunk: np.ndarray) -> tuple[int, float, Any]:
    start = time.perf_counter()
    keep_memory()
    with one_blas_thread():
        part = work(*fixed, chunk)
    return len(chunk), time.perf_counter() - start, part


def end_with(parent: int) -> None:
    """Have this process end as soon as `parent` has, which asks, if joblib started it; clusters have their own ways."""
    global _watching
    if "loky" not in type(multiprocessing.current_process()).__module__:
        return
    if os.getppid() != parent:
        os._exit(1)  # it ended while this one started
    if not _watching:
        _watching = True
        _allow_growth()
        threading.Thread(target=_end_after, args=(parent,), name="pymer4 lifeline", daemon=True).start()


def _allow_growth() -> None:
    """Keep this worker of loky's through the start of R, whose memory it would take for a leak where it has psutil."""
    from joblib.externals.loky import process_executor

    process_executor._MAX_MEMORY_LEAK_SIZE = _GROWTH


def _end_after(parent: int) -> None:
    known = multiprocessing.parent_process()
    if sys.platform == "win32" and known is not None:
        known.join()  # there a process keeps the number of a parent that has ended
    else:
        while os.getppid() == parent:
            time.sleep(_LOOK)
    os._exit(1)


@contextlib.contextmanager
def progress(what: str, total: int, shown: bool | int) -> Iterator[Advance]:
    """Show how many of `total` things, such as `"bootstrap draws"`, are done and failed; nothing unless `shown`."""
    if not shown:
        yield lambda _done, _failed: None
        return
    from tqdm.auto import tqdm

    lost = 0
    with tqdm(total=total, desc=what, file=sys.stderr) as bar:

        def advance(done: int, failed: int) -> None:
            nonlocal lost
            lost += failed
            bar.set_postfix(failed=lost, refresh=False)
            bar.update(done)

        advance(0, 0)
        yield advance


class _Blas:
    """The threads of the BLAS libraries of this process, and how many blocks of code ask for one only."""

    lock = threading.Lock()
    asking = 0
    controller: Any = None
    limits: Any = None


@contextlib.contextmanager
def one_blas_thread(size: float = math.inf) -> Iterator[None]:
    """Have products of matrices keep to one thread, in the whole process, until the last of those who ask has left.

    Waking threads takes longer than many small products do, much longer where cores are busy. And in one thread sums
    are taken in one order, so that draws do not depend on how many cores a worker may use.

    Args:
        size: numbers in the largest matrix. Where these are few, the library itself keeps to one thread, and nothing
            is done.
    """
    if size <= _FEW:
        yield
        return
    with _Blas.lock:
        if not _Blas.asking:
            if _Blas.controller is None:
                from threadpoolctl import ThreadpoolController

                _Blas.controller = ThreadpoolController()
            _Blas.limits = _Blas.controller.limit(limits=1, user_api="blas")
        _Blas.asking += 1
    try:
        yield
    finally:
        with _Blas.lock:
            _Blas.asking -= 1
            if not _Blas.asking:
                _Blas.limits.restore_original_limits()


def keep_memory(megabytes: int = 16) -> None:
    """Have memory that temporary arrays give back stay with the process for the next of them; halves what draws take.

    The C library returns freed memory to the system above a bound that rises with the largest block freed so far, at
    most 32 MB (mallopt(3), M_MMAP_THRESHOLD). Below it, each array of a loop is mapped and cleared anew, which
    takes longer than the arithmetic on it. The block made here is never touched, so it takes no memory.
    """
    np.empty(megabytes * 2**17)
