"""Work on a cluster of dask's: what a function makes of chunks, in order.

dask's own client is asked. joblib would send what all chunks share with each of them, and wait for ever for a chunk
that ended its workers.
"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import BrokenExecutor
from itertools import islice
from typing import Any


def answers(
    backend: Any, work: Callable[..., Any], fixed: tuple[Any, ...], chunks: Iterator[Any], ahead: int
) -> Generator[Any, None, None]:
    """Yield `work(*fixed, chunk)` of each chunk.

    Args:
        backend: joblib's, of the client in force.
        work: a module-level function.
        fixed: what is sent to each worker once.
        chunks: is asked for the next when it is due.
        ahead: chunks that are on their way at a time. At the end, also one by an error, no more are begun.

    Raises:
        BrokenExecutor: a chunk ended worker after worker.
        CancelledError: the scheduler is gone, or somebody cancelled the work.
    """
    import cloudpickle
    import dask
    from distributed import KilledWorker

    client, asked = backend.client, deque[Any]()
    # Arrays that are not in bytes arrive unaligned, and sums of those are taken in another order. A result is made
    # again where a worker that held it ends; what is scattered is lost.
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TiB"}):
        held = client.submit(bytes, cloudpickle.dumps((work, fixed)), pure=False, **backend.submit_kwargs)
    try:
        with backend.retrieval_context():
            while True:
                more = map(pickle.dumps, islice(chunks, ahead - len(asked)))
                asked += [client.submit(_answer, held, x, pure=False, **backend.submit_kwargs) for x in more]
                if not asked:
                    return
                yield asked[0].result()
                asked.popleft()
    except KilledWorker as error:
        raise BrokenExecutor(str(error)) from error
    finally:
        client.cancel(list(asked))


def _answer(held: bytes, chunk: bytes) -> Any:
    work, fixed = pickle.loads(held)
    return work(*fixed, pickle.loads(chunk))
