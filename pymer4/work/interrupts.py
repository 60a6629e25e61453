"""Hand Ctrl-C to foreign code that runs on the main thread, where Python's own handler waits for it to return.

Python writes a byte to its wake-up descriptor the moment a signal arrives, so a watcher thread can pass it on at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator


class Interrupts:
    """SIGINT during one block: `seen` at once, passed on only while foreign code runs that can stop for it."""

    def __init__(self, interrupt: Callable[[bool], None]):
        self.seen = False
        self._interrupt = interrupt
        self._lock, self._open, self._passed = threading.Lock(), False, False

    def note(self) -> None:
        """Take note of the signal, and pass the first one on where the foreign code listens."""
        with self._lock:
            self.seen = True
            if self._open and not self._passed:
                self._passed = True
                self._interrupt(True)

    @contextlib.contextmanager
    def passed_on(self) -> Iterator[None]:
        """Pass the signal on for the length of a block; a request that was not served is withdrawn after it."""
        with self._lock:
            self._open = True
        try:
            yield
        finally:
            with self._lock:
                self._open = False
                self._interrupt(False)


@contextlib.contextmanager
def hold_interrupts(interrupt: Callable[[bool], None]) -> Iterator[Interrupts]:
    """For the length of the block, keep SIGINT from the user's handler.

    Off the main thread, and where SIGINT is ignored, nothing is done. At the end the user's handler and wake-up
    descriptor are put back, and a signal that came is raised once more for that handler.

    Args:
        interrupt: tells the foreign code to stop (True; called from another thread), or withdraws that.
    """
    handler, interrupts = signal.getsignal(signal.SIGINT), Interrupts(interrupt)
    if threading.current_thread() is not threading.main_thread() or handler in (None, signal.SIG_IGN):
        yield interrupts
        return
    signal.signal(signal.SIGINT, lambda _number, _frame: setattr(interrupts, "seen", True))
    try:
        with _watched(interrupts.note):
            yield interrupts
    finally:
        signal.signal(signal.SIGINT, handler)
        if interrupts.seen:
            signal.raise_signal(signal.SIGINT)


@contextlib.contextmanager
def _watched(note: Callable[[], None]) -> Iterator[None]:
    """For the length of the block, have a thread read the wake-up descriptor."""
    receive, send = os.pipe()
    os.set_blocking(send, False)
    descriptor = signal.set_wakeup_fd(send, warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(receive, descriptor, note), daemon=True)
    try:
        watcher.start()
        yield
    finally:
        signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
        os.close(send)
        if watcher.ident is not None:
            watcher.join()
        os.close(receive)


def _watch(receive: int, onward: int, note: Callable[[], None]) -> None:
    """Note each SIGINT, and pass other signals on to the descriptor that was there before.

    SIGINT is not passed on: it is raised again after the block, and would count twice.
    """
    while received := os.read(receive, 64):
        if signal.SIGINT in received:
            note()
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
