"""Ctrl-C: noted at once, passed on to what runs, and left to the handler that was there."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings

import pytest

from pymer4 import Lmer, load_dataset
from pymer4.errors import ModelWarning
from pymer4.rbridge import bridge
from pymer4.rbridge.interrupts import hold_interrupts, keep_interrupt_handler


class Foreign:
    """Code that runs until it is told to stop."""

    def __init__(self):
        self.stop, self.told, self.forgot = threading.Event(), 0, 0

    def interrupt(self):
        self.told += 1
        self.stop.set()

    def forget(self):
        self.forgot += 1

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
    with hold_interrupts(foreign.interrupt, foreign.forget) as interrupts, interrupts.passed_on():
        pass
    assert not interrupts.seen and foreign.told == 0


def test_what_runs_is_told_to_stop_and_then_python(foreign):
    with pytest.raises(KeyboardInterrupt), hold_interrupts(foreign.interrupt, foreign.forget) as interrupts:
        with interrupts.passed_on():
            sender = later(signal.SIGINT)
            assert foreign.run(), "stopped by the signal"
        assert interrupts.seen
        sender.join()
    assert (foreign.told, foreign.forgot) == (1, 1)


def test_a_handler_of_the_user_is_called_once(foreign, handled):
    with hold_interrupts(foreign.interrupt, foreign.forget) as interrupts:
        with interrupts.passed_on():
            sender = later(signal.SIGINT, signal.SIGINT)
            assert foreign.run()
            sender.join()
        assert handled == []
    assert handled == [signal.SIGINT]
    assert foreign.told == 1, "what unwinds is not told again"


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_does_not_listen_is_not_told(when, foreign, handled):
    with hold_interrupts(foreign.interrupt, foreign.forget) as interrupts:
        if when == "before":
            press()
            time.sleep(0.05)
            assert interrupts.seen
        with interrupts.passed_on():
            pass
        if when == "after":
            press()
            time.sleep(0.05)
    assert interrupts.seen and foreign.told == 0
    assert handled == [signal.SIGINT]


def test_a_request_that_was_not_served_is_withdrawn_before_the_block_goes_on(foreign, handled):
    with hold_interrupts(foreign.interrupt, foreign.forget) as interrupts:
        with interrupts.passed_on():
            press()
            assert foreign.run()
            assert foreign.forgot == 0
        assert foreign.forgot == 1
    assert handled


def test_an_error_in_the_block_is_not_lost(foreign, handled):
    held = hold_interrupts(foreign.interrupt, foreign.forget)
    with pytest.raises(ZeroDivisionError), held as interrupts, interrupts.passed_on():
        press()
        raise ZeroDivisionError
    assert handled == [signal.SIGINT] and foreign.forgot == 1


def test_another_thread_leaves_signals_alone(foreign):
    found = []

    def work():
        before = signal.getsignal(signal.SIGINT)
        with hold_interrupts(foreign.interrupt, foreign.forget) as interrupts, interrupts.passed_on():
            found.append(signal.getsignal(signal.SIGINT) is before)
        with keep_interrupt_handler():
            found.append(not interrupts.seen)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [True, True]


def test_a_signal_that_is_ignored_stays_ignored(foreign):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with hold_interrupts(foreign.interrupt, foreign.forget) as interrupts, interrupts.passed_on():
            press()
        assert not interrupts.seen and signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_blocks_follow_one_another(foreign, handled):
    for n in range(1, 31):
        with hold_interrupts(foreign.interrupt, foreign.forget) as interrupts, interrupts.passed_on():
            press()
        assert len(handled) == n and interrupts.seen


def test_an_event_loop_hears_each_signal_once(foreign):
    """asyncio reads signal numbers from the wake-up descriptor, and calls what is registered for them."""
    receive, send = os.pipe()
    os.set_blocking(send, False)
    calls = []
    before = [signal.signal(n, lambda number, _frame: calls.append(number)) for n in (signal.SIGINT, signal.SIGUSR1)]
    signal.set_wakeup_fd(send)
    try:
        with hold_interrupts(foreign.interrupt, foreign.forget) as interrupts, interrupts.passed_on():
            later(signal.SIGUSR1, signal.SIGINT, signal.SIGUSR1).join()
        assert signal.set_wakeup_fd(-1) == send
        assert sorted(os.read(receive, 64)) == sorted([signal.SIGINT, signal.SIGUSR1, signal.SIGUSR1])
        assert sorted(calls) == sorted([signal.SIGINT, signal.SIGUSR1, signal.SIGUSR1])
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in zip((signal.SIGINT, signal.SIGUSR1), before, strict=True):
            signal.signal(number, handler)
        os.close(receive)
        os.close(send)


def test_a_handler_that_a_block_takes_is_put_back(handled):
    mine = signal.getsignal(signal.SIGINT)
    with keep_interrupt_handler():
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert signal.getsignal(signal.SIGINT) is mine
    with pytest.raises(ZeroDivisionError), keep_interrupt_handler():
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is mine


# ------------------------------------------------------------------ R, in processes of their own

COMMON = """
    import asyncio, json, os, signal, sys, threading, time
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from pymer4 import Lmer, load_dataset

    def model():
        return Lmer("Reaction ~ Days + (Days | Subject)", load_dataset("sleepstudy"))

    def interrupted(model, delay=0.5):
        '''Return the seconds from the signal to KeyboardInterrupt, None where it did not come.'''
        sent = []
        def press():
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)
        timer = threading.Timer(delay, press)
        timer.start()
        try:
            model.fit(conf_int="boot", n_boot=200_000, summarize=False)
        except KeyboardInterrupt:
            return time.monotonic() - sent[0]
        finally:
            timer.join()

    def days(model):
        model.fit(summarize=False)
        return round(float(model.coefs["Estimate"]["Days"]), 3)
"""


def told_by(script):
    """Run a script in a fresh process and return the dict that it prints last."""
    code = textwrap.dedent(COMMON) + textwrap.dedent(script)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]) | {"stderr": done.stderr}


@pytest.fixture(scope="module")
def main_thread():
    return told_by("""
        told = {}
        m = model()
        told["untouched"] = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        told["days"] = days(m)

        told["seconds"] = interrupted(m)
        told["fitted"] = m.fitted
        told["restored"] = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        told["wakeup"] = signal.set_wakeup_fd(-1)
        told["days after"] = days(m)

        calls = []
        def mine(number, frame):
            calls.append(number)
        signal.signal(signal.SIGINT, mine)
        told["own: seconds"] = interrupted(m)
        told["own: calls"] = len(calls)
        told["own: restored"] = signal.getsignal(signal.SIGINT) is mine
        told["own: days after"] = days(m)
        signal.signal(signal.SIGINT, signal.default_int_handler)

        async def main():
            loop, heard = asyncio.get_running_loop(), []
            loop.add_signal_handler(signal.SIGINT, heard.append, 1)
            descriptor = signal.set_wakeup_fd(-1)
            signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
            told["loop: seconds"] = interrupted(m)
            await asyncio.sleep(0.1)
            told["loop: heard"] = len(heard)
            told["loop: descriptor"] = signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False) == descriptor >= 0
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0.1)
            told["loop: heard after"] = len(heard)
        asyncio.run(main())
        print(json.dumps(told))
    """)


@pytest.fixture(scope="module")
def other_thread():
    return told_by("""
        told = {}
        def first():
            told["days"] = days(model())
        thread = threading.Thread(target=first)
        thread.start()
        thread.join()
        told["handler"] = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
            told["python hears"] = False
        except KeyboardInterrupt:
            told["python hears"] = True
        m = model()
        told["seconds"] = interrupted(m)
        told["days after"] = days(m)
        print(json.dumps(told))
    """)


@pytest.mark.r
def test_the_first_fit_leaves_the_handler_alone(main_thread):
    assert main_thread["untouched"] and main_thread["days"] == 10.467


@pytest.mark.r
def test_a_fit_is_interrupted_at_once_and_the_next_one_works(main_thread):
    assert main_thread["seconds"] is not None and main_thread["seconds"] < 1
    assert main_thread["restored"] and main_thread["wakeup"] == -1
    assert main_thread["fitted"], "the fit before stays"
    assert main_thread["days after"] == 10.467


@pytest.mark.r
def test_a_handler_of_the_user_is_called_and_stays(main_thread):
    assert main_thread["own: seconds"] < 1
    assert (main_thread["own: calls"], main_thread["own: restored"]) == (1, True)
    assert main_thread["own: days after"] == 10.467


@pytest.mark.r
def test_an_event_loop_keeps_its_descriptor(main_thread):
    assert main_thread["loop: seconds"] < 1
    assert (main_thread["loop: heard"], main_thread["loop: heard after"]) == (1, 2)
    assert main_thread["loop: descriptor"]


@pytest.mark.r
def test_r_may_start_on_another_thread(other_thread):
    assert other_thread["days"] == 10.467 and other_thread["stderr"] == ""


@pytest.mark.r
def test_ctrl_c_is_intact_after_r_started_on_another_thread(other_thread):
    assert other_thread["handler"] and other_thread["python hears"]
    assert other_thread["seconds"] is not None and other_thread["seconds"] < 1
    assert other_thread["days after"] == 10.467


@pytest.mark.r
def test_signals_at_any_moment_end_in_keyboard_interrupt():
    """Before, in and after the question: neither another error, nor a lost process, nor a wrong number."""
    told = told_by("""
        import random
        from pymer4.rbridge import bridge
        m, chance, armed, over = model(), random.Random(1), threading.Event(), threading.Event()
        expected, outcomes = days(m), {"answered": 0, "interrupted": 0}

        def press():
            while not over.is_set():
                time.sleep(chance.uniform(0.001, 0.02))
                if armed.is_set():
                    os.kill(os.getpid(), signal.SIGINT)

        signal.signal(signal.SIGINT, lambda number, frame: None)
        sender = threading.Thread(target=press)
        sender.start()
        end = time.monotonic() + 4
        while time.monotonic() < end:
            armed.set()
            try:
                bridge.call("echo", value=[0.5] * 10) if chance.random() < 0.5 else m.fit(summarize=False)
                outcomes["answered"] += 1
            except KeyboardInterrupt:
                outcomes["interrupted"] += 1
            armed.clear()
        over.set()
        sender.join()
        print(json.dumps(outcomes | {"same": days(m) == expected}))
    """)
    assert told["same"] and told["answered"] and told["interrupted"]


PARTS = {
    "bootstrap_mixed": lambda model: model.fit(conf_int="boot", n_boot=10_000, seed=1, summarize=False),
    "permute_mixed": lambda model: model.fit(permute=10_000, seed=1, summarize=False),
    "profile_part": lambda model: model.confint("profile"),
    "fit_by_optimizer": lambda model: model.allfit(),
}


@pytest.mark.r
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


@pytest.mark.r
def test_every_long_question_stops_within_a_second():
    """On 20,000 rows; a question that was answered before the signal came counts for nothing."""
    told = told_by("""
        import numpy as np, pandas as pd
        rng = np.random.default_rng(1)
        g = np.arange(20_000) % 400
        x, u = rng.normal(size=20_000), rng.normal(size=(400, 2))
        data = pd.DataFrame({"y": x + u[g, 0] + u[g, 1] * x + rng.normal(size=20_000), "x": x, "g": g})
        m = Lmer("y ~ x + (x | g)", data)
        m.fit(summarize=False)
        estimate = m.coefs["Estimate"]["x"]
        questions = {
            "fit": lambda: m.fit(summarize=False),
            "permute": lambda: m.fit(permute=500, seed=1, summarize=False),
            "bootstrap": lambda: m.confint("boot", n_boot=500, seed=1),
            "workers": lambda: m.confint("boot", n_boot=5000, seed=1, n_jobs=2),
            "profile": lambda: m.confint("profile"),
            "allfit": lambda: m.allfit(),
            "predict": lambda: m.predict(data, interval="prediction", skip_data_checks=True),
            "simulate": lambda: m.simulate(2000),
        }
        told = {}
        for name, ask in questions.items():
            sent, delay = [], 0.1 if name == "fit" else 0.3
            timer = threading.Timer(delay, lambda: sent.append(time.monotonic()) or os.kill(os.getpid(), signal.SIGINT))
            timer.start()
            try:
                ask()
                timer.cancel()
                timer.join()
            except KeyboardInterrupt:
                told[name] = time.monotonic() - sent[0]
            timer.join()
        m.fit(summarize=False)
        print(json.dumps(told | {"same": bool(m.coefs["Estimate"]["x"] == estimate)}))
    """)
    assert told["same"]
    seconds = {name: value for name, value in told.items() if name not in ("same", "stderr")}
    assert {"permute", "bootstrap", "workers", "profile"} <= set(seconds)
    assert max(seconds.values()) < 1, seconds
