"""Ctrl-C: noted at once, passed on to what runs, and left to the handler that was there."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
import warnings

import pytest

from pymer4 import Lmer, load_dataset
from pymer4.errors import ModelWarning
from pymer4.rbridge import bridge
from pymer4.work.interrupts import hold_interrupts, keep_interrupt_handler


class Foreign:
    """Code that runs until it is told to stop; what it was told: to stop, or that this is withdrawn."""

    def __init__(self):
        self.stop, self.told = threading.Event(), []

    def __call__(self, wanted):
        self.told.append(wanted)
        if wanted:
            self.stop.set()

    def run(self, seconds=10.0):
        return self.stop.wait(seconds)


@pytest.fixture
def foreign():
    return Foreign()


@pytest.fixture(autouse=True)
def state():
    """Every test leaves the handler and the wake-up descriptor as they were, and no file open.

    A shell starts what runs in its background with SIGINT ignored: the tests begin with Python's own handler.
    """
    inherited, handler = signal.getsignal(signal.SIGINT), signal.default_int_handler
    signal.signal(signal.SIGINT, handler)
    gc.collect()  # what tests before left behind is not closed in this one
    files, threads = len(os.listdir("/dev/fd")), set(threading.enumerate())
    yield
    found = signal.getsignal(signal.SIGINT), signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, inherited)
    assert found == (handler, -1)
    assert len(os.listdir("/dev/fd")) <= files
    assert set(threading.enumerate()) <= threads


@pytest.fixture
def handled():
    """A handler of the user's own: the signals it got."""
    found = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: found.append(number))
    yield found
    signal.signal(signal.SIGINT, before)


def press(signal_number=signal.SIGINT):
    os.kill(os.getpid(), signal_number)


def later(*signals):
    """Send signals from another thread, a moment from now."""
    thread = threading.Thread(target=lambda: [time.sleep(0.05) or press(number) for number in signals])
    thread.start()
    return thread


def test_nothing_happens_where_nothing_comes(foreign):
    with hold_interrupts(foreign) as interrupts, interrupts.passed_on():
        pass
    assert not interrupts.seen and True not in foreign.told


def test_what_runs_is_told_to_stop_and_then_python(foreign):
    with pytest.raises(KeyboardInterrupt), hold_interrupts(foreign) as interrupts:
        with interrupts.passed_on():
            sender = later(signal.SIGINT)
            assert foreign.run(), "stopped by the signal"
            assert foreign.told == [True]
        assert foreign.told == [True, False], "a request that was not served is withdrawn before the block goes on"
        sender.join()


def test_a_handler_of_the_user_is_called_once(foreign, handled):
    with hold_interrupts(foreign) as interrupts:
        with interrupts.passed_on():
            sender = later(signal.SIGINT, signal.SIGINT)
            assert foreign.run()
            sender.join()
        assert handled == []
    assert handled == [signal.SIGINT]
    assert foreign.told == [True, False], "what unwinds is not told again"


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_does_not_listen_is_not_told(when, foreign, handled):
    with hold_interrupts(foreign) as interrupts:
        for moment in ("before", "after"):
            if when == moment:
                press()
                time.sleep(0.05)
            if moment == "before":
                with interrupts.passed_on():
                    pass
    assert interrupts.seen and foreign.told == [False]
    assert handled == [signal.SIGINT]


def test_an_error_in_the_block_is_not_lost(foreign, handled):
    with pytest.raises(ZeroDivisionError), hold_interrupts(foreign) as interrupts, interrupts.passed_on():
        press()
        raise ZeroDivisionError
    assert handled == [signal.SIGINT] and foreign.told[-1] is False


def test_another_thread_leaves_signals_alone(foreign):
    found = []

    def work():
        before = signal.getsignal(signal.SIGINT)
        with hold_interrupts(foreign) as interrupts, interrupts.passed_on(), keep_interrupt_handler():
            found.append(signal.getsignal(signal.SIGINT) is before and not interrupts.seen)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [True]


def test_a_signal_that_is_ignored_stays_ignored(foreign):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with hold_interrupts(foreign) as interrupts, interrupts.passed_on():
            press()
        assert not interrupts.seen and signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_blocks_follow_one_another(foreign, handled):
    for n in range(1, 31):
        with hold_interrupts(foreign) as interrupts, interrupts.passed_on():
            press()
        assert len(handled) == n and interrupts.seen


def test_an_event_loop_hears_each_signal_once(foreign):
    """asyncio reads signal numbers from the wake-up descriptor, and calls what is registered for them."""
    receive, send = os.pipe()
    os.set_blocking(send, False)
    calls, sent = [], [signal.SIGUSR1, signal.SIGINT, signal.SIGUSR1]
    before = {n: signal.signal(n, lambda number, _frame: calls.append(number)) for n in set(sent)}
    signal.set_wakeup_fd(send)
    try:
        with hold_interrupts(foreign) as interrupts, interrupts.passed_on():
            later(*sent).join()
        assert signal.set_wakeup_fd(-1) == send
        assert sorted(os.read(receive, 64)) == sorted(calls) == sorted(sent)
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(receive)
        os.close(send)


def test_a_handler_that_a_block_takes_is_put_back(handled):
    mine = signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError), keep_interrupt_handler():
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is mine


PARTS = {
    "bootstrap_mixed": lambda model: model.fit(conf_int="boot", n_boot=10_000, seed=1, summarize=False),
    "permute_mixed": lambda model: model.fit(permute=10_000, seed=1, summarize=False),
    "profile_part": lambda model: model.confint("profile"),
    "fit_by_optimizer": lambda model: model.allfit(),
}


@pytest.mark.r
@pytest.mark.usefixtures("refits_in_r")
@pytest.mark.parametrize("verb", PARTS)
def test_a_signal_between_two_parts_of_a_question_ends_it(verb, handled, monkeypatch):
    """Also where the user's handler does not raise, so that Python would go on with the next part."""
    model = Lmer("Reaction ~ Days + (Days | Subject)", load_dataset("sleepstudy"))
    model.fit(summarize=False)
    before, asked, ask = model.coefs, [], bridge.call

    def pressed(name, /, **arguments):
        asked.append(name)
        if asked.count(verb) == 2:
            press()
        return ask(name, **arguments)

    monkeypatch.setattr(bridge, "call", pressed)
    with warnings.catch_warnings(), pytest.raises(KeyboardInterrupt):
        warnings.simplefilter("ignore", ModelWarning)
        PARTS[verb](model)
    assert asked.count(verb) == 2 and handled == [signal.SIGINT]
    assert model.coefs is before
    assert ask("echo", value=[1.0]).value.tolist() == [1.0]
