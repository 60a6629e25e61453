"""Hand Ctrl-C to foreign code that runs on the main thread.

While C code runs there, Python's own handler waits for it to return. Python
does write a byte to its wake-up descriptor the moment a signal arrives, so a
watcher thread can pass the interrupt on at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def forward_interrupts(interrupt: Callable[[], None], forget: Callable[[], None]) -> Iterator[list[int]]:
    """For the length of the block, pass SIGINT on through `interrupt`.

    Off the main thread, and where SIGINT is ignored, nothing is done. At the end
    the user's handler and wake-up descriptor are put back, a request that came
    too late to be served is withdrawn with `forget`, and the signal is raised
    once more for the handler that was there before.

    Args:
        interrupt: tells the foreign code to stop; called from another thread.
        forget: withdraws that request.

    Yields:
        The signals that came since the block began: empty while there was none.

    Raises:
        KeyboardInterrupt: after the block, by Python's default handler.
    """
    handler = signal.getsignal(signal.SIGINT)
    seen: list[int] = []
    if threading.current_thread() is not threading.main_thread() or handler in (None, signal.SIG_IGN):
        yield seen
        return
    signal.signal(signal.SIGINT, lambda number, _frame: seen.append(number))
    try:
        with _watched(interrupt):
            yield seen
    finally:
        forget()
        signal.signal(signal.SIGINT, handler)
        if seen:
            signal.raise_signal(signal.SIGINT)


@contextlib.contextmanager
def _watched(interrupt: Callable[[], None]) -> Iterator[None]:
    """For the length of the block, have a thread read the wake-up descriptor."""
    receive, send = os.pipe()
    os.set_blocking(send, False)
    descriptor = signal.set_wakeup_fd(send, warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(receive, descriptor, interrupt), daemon=True)
    try:
        watcher.start()
        yield
    finally:
        signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
        os.close(send)
        if watcher.ident is not None:
            watcher.join()
        os.close(receive)


def _watch(receive: int, onward: int, interrupt: Callable[[], None]) -> None:
    """Serve one block: interrupt on SIGINT, pass other signals on to the descriptor that was there before.

    SIGINT is not passed on: it is raised again after the block, and would count twice.
    """
    while received := os.read(receive, 64):
        if signal.SIGINT in received:
            interrupt()
        others = received.replace(bytes([signal.SIGINT]), b"")
        if others and onward >= 0:
            with contextlib.suppress(BlockingIOError):
                os.write(onward, others)


@contextlib.contextmanager
def keep_interrupt_handler() -> Iterator[None]:
    """Put SIGINT's handler back after a block that takes it, as the start of R does on the main thread.

    Off the main thread R warns that it can't have the signal; it is not meant to, so that is not shown.
    """
    if threading.current_thread() is not threading.main_thread():
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="R is not initialized by the main thread")
            yield
        return
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if handler is not None:
            signal.signal(signal.SIGINT, handler)
