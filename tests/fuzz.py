"""A seeded fuzz of all public callables: what they are called with, and what may come of it.

`python tests/fuzz.py SEED CALLS` prints the figures and each finding; `--case N` makes call N of the seed again, with
its traceback. One seed makes the same calls everywhere, and each call is made the same by itself.

What may come of a call is told by `fuzz_judge`.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import importlib
import inspect
import json
import os
import pkgutil
import random
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import fuzz_values as values
import numpy as np
import pandas as pd
from fuzz_judge import FINE, Call, imprint, judged
from fuzz_parameters import ODD, ODD_ALONE, VALID

import pymer4
from pymer4 import models

NOT_FOR_USERS = {"pymer4.rbridge.bridge", "pymer4.errors"}
"""Modules with an `__all__` that are no boundary: the door to R, which takes what the models hand it; the classes."""

_CACHES = {"_grids", "_grid_variables"}
"""Attributes of models that keep what was asked before."""

LONGEST = 120.0
"""Seconds after which a call counts as one without end, and the process stops with its traceback."""


@dataclass(frozen=True)
class Subject:
    """A public callable: a function, a class, or a method of a model in some state."""

    name: str
    owner: str
    target: Any
    parameters: Mapping[str, inspect.Parameter]
    state: str = ""

    @property
    def full_name(self) -> str:
        return f"{self.owner}.{self.name}" if self.state else self.name

    @property
    def weight(self) -> int:
        """How often it is called, beside others; a model that is made, fitted and asked is several calls."""
        return (1 + len(self.parameters)) * (6 if self.target in (models.Lmer, models.Lm, models.Lm2) else 1)


# ------------------------------------------------------------------ what is public


def modules() -> list[Any]:
    """Return the public modules of the package: those with an `__all__`."""
    found = [importlib.import_module(f"pymer4.{module.name}") for module in pkgutil.iter_modules(pymer4.__path__)]
    return [pymer4, *(m for m in found if hasattr(m, "__all__") and m.__name__ not in NOT_FOR_USERS)]


def functions() -> list[Subject]:
    """Return the public functions and classes, each once."""
    found: dict[int, Subject] = {}
    for module in modules():
        for name in module.__all__:
            target = getattr(module, name)
            if callable(target) and id(target) not in found:
                found[id(target)] = Subject(name, name, target, parameters(target))
    return list(found.values())


def methods(states: Mapping[str, Any]) -> list[Subject]:
    """Return the public methods and properties of each model in each state."""
    found = []
    for state, model in states.items():
        for name, member in inspect.getmembers(type(model)):
            if name.startswith("_"):
                continue
            taken = parameters(member) if callable(member) else {}
            taken.pop("self", None)
            found.append(Subject(name, type(model).__name__, name, taken, state))
    return found


def parameters(target: Any) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(target).parameters)


# ------------------------------------------------------------------ models to call methods of


def states(folder: Path) -> dict[str, Any]:
    """Return models by the state they are in, and leave files for `load_model`."""
    Lmer, Lm, Lm2 = models.Lmer, models.Lm, models.Lm2
    data = values.plain_frame()
    made = {
        "new Lmer": Lmer("y ~ x * c + (1 | g)", values.frame()),
        "Lmer": Lmer("y ~ x * c + (1 | g)", data),
        "binomial Lmer": Lmer("b ~ x + c + (1 | g)", data, "binomial"),
        "crossed Lmer": Lmer("y ~ holes + c + (x | g) + (1 | h)", data, weights="w"),
        "new Lm": Lm("y ~ x * c", values.frame()),
        "Lm": Lm("y ~ x", data),
        "poisson Lm": Lm("n ~ holes * c", data, "poisson"),
        "new Lm2": Lm2("y ~ x", values.frame(), "g"),
        "Lm2": Lm2("y ~ x", data, "g"),
        "nested Lm2": Lm2("n ~ x", data.assign(g=data.g + data.h), ["h", "g"], "poisson"),
    }
    for state, model in made.items():
        if not state.startswith("new"):
            model.fit(summarize=False)
    for state in ("Lmer", "Lm", "Lm2"):
        pymer4.save_model(made[state], folder / f"{state}.h5")
        made[f"loaded {state}"] = pymer4.load_model(folder / f"{state}.h5")
    pymer4.save_model(made["Lm"], folder / "saved.h5")
    (folder / "text.h5").write_text("no model")
    return made


def twin(model: Any) -> Any:
    """Return another model of the same state, which shares with it what no call may change."""
    made = object.__new__(type(model))
    kept = {name: type(v)(v) if type(v) in (dict, list) else v for name, v in vars(model).items()}
    made.__dict__.update(kept)
    return made


# ------------------------------------------------------------------ the generator


class Generator:
    """Makes the calls of a seed."""

    def __init__(self, folder: Path, only: str = ""):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.states = states(folder)
        found = [*functions(), *methods(self.states)]
        self.subjects = [one for one in found if re.search(only, one.full_name)]
        self._weights = [one.weight for one in self.subjects]
        self._before = self._shared()

    def _shared(self) -> dict[str, Any]:
        """Return what all twins of each model have in common."""
        return {state: {name: imprint(v) for name, v in vars(m).items()} for state, m in self.states.items()}

    def changed(self) -> list[str]:
        """Return the attributes that some call has changed in place."""
        after = self._shared()
        tables = (pd.DataFrame, np.ndarray, dict, list)
        return [
            f"{state}: {name}"
            for state, before in self._before.items()
            for name, value in vars(self.states[state]).items()
            if isinstance(value, tables) and before.get(name) != after[state].get(name) and name not in _CACHES
        ]

    def call(self, seed: int, number: int) -> tuple[Subject, Any, list[tuple[str, Any, str]]]:
        """Return a callable, the model it is a method of, and its arguments: name, value, and how it is told."""
        rng = random.Random(f"{seed}-{number}")
        subject = rng.choices(self.subjects, self._weights)[0]
        model = twin(self.states[subject.state]) if subject.state else None
        return subject, model, self.arguments(rng, subject)

    def arguments(self, rng: random.Random, subject: Subject) -> list[tuple[str, Any, str]]:
        names = list(subject.parameters)
        wrong = set(rng.sample(names, min(len(names), rng.choices((0, 1, 2, 3), (30, 50, 14, 6))[0])))
        made = []
        for name, parameter in subject.parameters.items():
            costly = name in ("n_boot", "n_perm", "permute", "nit")
            optional = parameter.default is not parameter.empty or parameter.kind is parameter.VAR_KEYWORD
            if name not in wrong and optional and not costly and rng.random() > 0.25:
                continue
            if parameter.kind is parameter.VAR_KEYWORD:
                made.append(self.keyword(rng, name in wrong))
            elif name in ("model", "models"):
                made.append(self.models(rng, name, parameter, name in wrong))
            else:
                value = rng.choice(pool(subject, parameter, name in wrong, rng))()
                made.append((name, value, shown(value)))
        return made

    def keyword(self, rng: random.Random, wrong: bool) -> tuple[str, Any, str]:
        name = rng.choice(["summarize", "summary", "complevel", "n_bot"])
        value = rng.choice(values.ANYTHING)() if wrong else False
        return name, value, shown(value)

    def models(self, rng: random.Random, name: str, parameter: inspect.Parameter, wrong: bool) -> tuple[str, Any, str]:
        """Return models for `save_model`, `compare` and `lrt`."""
        chosen = rng.choices(list(self.states), k=rng.choice((1, 2, 2, 3)))
        given = [twin(self.states[state]) for state in chosen]
        if wrong:
            given[0], chosen[0] = rng.choice(values.ANYTHING)(), "anything"
            chosen[0] = shown(given[0])
        if name == "model":
            return name, given[0], chosen[0]
        key = f"*{name}" if parameter.kind is parameter.VAR_POSITIONAL else name
        return key, given, f"[{', '.join(chosen)}]"


def pool(subject: Subject, parameter: inspect.Parameter, wrong: bool, rng: random.Random) -> list[values.Make]:
    """Return what an argument is chosen from."""
    homes = (subject.state, subject.name, subject.owner)
    keys = (*(f"{home}.{parameter.name}" for home in homes), parameter.name)
    named = ODD if wrong else VALID
    found = next((named[key] for key in keys if key in named), None)
    if wrong:
        return values.ANYTHING if found is None or (rng.random() < 0.4 and parameter.name not in ODD_ALONE) else found
    if found is not None:
        return found
    if isinstance(parameter.default, bool):
        return [lambda: True, lambda: False]
    return values.ANYTHING if parameter.default is parameter.empty else [lambda: parameter.default]


def shown(value: Any) -> str:
    """Return a value on one short line."""
    if isinstance(value, pd.DataFrame):
        return f"<frame {value.shape}: {', '.join(map(str, value.dtypes[:4]))}>"
    try:
        text = " ".join(repr(value).split())
    except Exception as error:
        text = f"<{type(error).__name__}>"
    text = re.sub(r" at 0x\w+", "", text)
    kind = "" if type(value) in (str, int, float, bool, type(None), list, dict, tuple) else f"{type(value).__name__} "
    return kind + (text if len(text) < 90 else f"{text[:80]}...")


def made(subject: Subject, model: Any, given: list[tuple[str, Any, str]]) -> Any:
    """Make the call; a class is made, fitted and asked to predict."""
    target = subject.target if model is None else inspect.getattr_static(type(model), subject.target)
    if isinstance(target, property):
        return getattr(model, subject.target)
    positional = [one for name, value, _ in given if name.startswith("*") for one in value]
    named = {name: value for name, value, _ in given if not name.startswith("*")}
    if model is not None:
        return getattr(model, subject.target)(*positional, **named)
    answer = subject.target(*positional, **named)
    if isinstance(answer, (models.Lmer, models.Lm, models.Lm2)) and subject.target is type(answer):
        answer.fit(summarize=False)
        answer.predict(values.frame())
    return answer


# ------------------------------------------------------------------ a run


def run(seed: int, numbers: range, only: str = "", log: Callable[[str], None] = lambda text: None) -> list[Call]:
    """Make calls of a seed, of the callables whose names fit a pattern; `log` is told each before it is made."""
    found = []
    with tempfile.TemporaryDirectory() as folder, inside(folder):
        generator = Generator(Path(folder), only)
        for number in numbers:
            subject, model, given = generator.call(seed, number)
            owner = f"{subject.state}." if subject.state else ""
            told = f"{owner}{subject.name}({', '.join(f'{name}={text}' for name, _, text in given)})"
            log(f"{number} {told}")
            call = Call(number, subject.full_name, told)
            faulthandler.dump_traceback_later(LONGEST, exit=True)
            judged(partial(made, subject, model, given), model, given, call)
            faulthandler.cancel_dump_traceback_later()
            found.append(call)
            if "matplotlib.pyplot" in sys.modules:
                sys.modules["matplotlib.pyplot"].close("all")
        found += [Call(-1, "a model", told, "changed", "in place, by some call") for told in generator.changed()]
    return found


@contextlib.contextmanager
def inside(folder: str) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("seed", type=int)
    parser.add_argument("calls", type=int)
    parser.add_argument("--case", type=int, help="make this call of the seed alone")
    parser.add_argument("--only", default="", help="a pattern for the names of callables")
    parser.add_argument("--json", help="write the calls to this file")
    given = parser.parse_args()
    bounded()
    numbers = range(given.calls) if given.case is None else range(given.case, given.case + 1)
    log = f"{given.json}.log" if given.json else os.devnull
    with open(log, "w", encoding="utf-8", errors="replace") as file:
        calls = run(given.seed, numbers, given.only, lambda text: print(text, file=file, flush=True))
    if given.json:
        Path(given.json).write_text(json.dumps([vars(call) for call in calls]), "utf-8")
    print(pd.crosstab([call.subject for call in calls], [call.outcome for call in calls]).to_string())
    for call in calls:
        if given.case is not None or call.outcome not in FINE:
            told = f"\n{given.seed}:{call.number} {call.outcome}: {call.told}\n    {call.why}\n{call.trace}"
            print(told.encode("ascii", "replace").decode())


def bounded(gigabytes: int = 6) -> None:
    """Let what asks for too much memory end in an error, where the system can do that."""
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (gigabytes * 2**30,) * 2)


if __name__ == "__main__":
    main()
