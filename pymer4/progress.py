"""How far long work has come: a bar on standard error in terminals, a widget in notebooks, by tqdm."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

Advance = Callable[[int, int], None]
"""Is told how many more are done, and how many of these failed."""


@contextlib.contextmanager
def progress(what: str, total: int, shown: bool | int) -> Iterator[Advance]:
    """Show the progress of a block, with the number of failures so far; nothing unless `shown`.

    Args:
        what: the things that are counted, such as `"bootstrap draws"`.
        total: how many there are to be.
        shown: whether anything is shown.

    Examples:
        >>> with progress("draws", 10, shown=False) as advance:
        ...     advance(10, 0)
    """
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
