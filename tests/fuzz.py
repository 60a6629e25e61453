"""A seeded fuzz of all public callables: what they are called with, and what may come of it.

`python tests/fuzz.py SEED CALLS` prints the figures and each finding; `--case N` makes call N of the seed again, with
its traceback. One seed makes the same calls everywhere, and each call is made the same by itself.

A call may succeed, or be refused by an error of `pymer4.errors` (or a TypeError that is raised on purpose). All else is
a finding:

| kind | what happened |
| --- | --- |
| internal | an exception that no `raise` of pymer4 made, such as a KeyError |
| foreign | an exception out of NumPy, pandas or another library, or R's bare words for a wrong argument |
| changed | the arguments are not what they were, or an error left the model another one |
| warned | a warning that is none of pymer4's own, such as NumPy's RuntimeWarning |
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import faulthandler
import importlib
import inspect
import io
import json
import os
import pickle
import pkgutil
import random
import re
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import fuzz_values as values
import numpy as np
import pandas as pd

import pymer4
from pymer4 import errors, models

NOT_FOR_USERS = {"pymer4.rbridge.bridge", "pymer4.errors"}
"""Modules with an `__all__` that are no boundary: the door to R, which takes what the models hand it; the classes."""

_CACHES = {"_grids", "_grid_variables"}
"""Attributes of models that keep what was asked before."""

LONGEST = 120.0
"""Seconds after which a call counts as one without end, and the process stops with its traceback."""

_MATHEMATICAL = re.compile(
    r"Downdated VtV|PIRLS|pwrssUpdate|no convergence|NaN|singular|not positive|infinite|cannot find valid starting|"
    r"not finite|non-finite|objective in x0|random effects \(=|\(non-NA\) cases|in all \d+|None of the|"
    r"non-positive values not allowed|positive values only|response is constant|step-halvings|optimi[sz]er|profil|"
    r"not identifiable"
)
"""What R says of a fit that can't be had, which no check of arguments can foresee."""

_USERS_CODE = re.compile(r"'degree' must be|invalid power|^no$|^factor .* has new levels")
"""What R says of the functions that a formula spells, which are R code of the user's."""


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


@dataclass
class Call:
    """One call, and what came of it."""

    number: int
    subject: str
    told: str
    outcome: str = "ok"
    why: str = ""
    seconds: float = 0.0
    trace: str = field(default="", repr=False)


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
    named = values.ODD if wrong else values.VALID
    found = next((named[key] for key in keys if key in named), None)
    if wrong:
        return (
            values.ANYTHING
            if found is None or (rng.random() < 0.4 and parameter.name not in values.ODD_ALONE)
            else found
        )
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


# ------------------------------------------------------------------ the judge


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


def imprint(value: Any) -> Any:
    """Return what has to be the same before and after a call."""
    if isinstance(value, (models.Lmer, models.Lm, models.Lm2)):
        kept = {name: v for name, v in vars(value).items() if not name.startswith("_") or name == "_frame"}
        # Objects that twins share are looked at when all calls are made.
        return type(value), {name: imprint(v) if type(v) in (dict, list) else id(v) for name, v in kept.items()}
    if isinstance(value, dict):
        return [(repr(name), imprint(one)) for name, one in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value), [imprint(one) for one in value]
    if isinstance(value, (np.random.Generator, Iterator)):
        return id(value)
    if isinstance(value, pd.DataFrame):
        parts = [(repr(name), imprint(value.iloc[:, i])) for i, name in enumerate(value.columns)]
        return len(value), parts, pickle.dumps(value.attrs)
    try:
        return pickle.dumps(value)
    except Exception:
        return id(value)


def judged(subject: Subject, model: Any, given: list[tuple[str, Any, str]], call: Call) -> None:
    """Make a call, and note what came of it."""
    arguments, before = [imprint(value) for _, value, _ in given], imprint(model)
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as warned, contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("always")
        try:
            made(subject, model, given)
        except (Exception, SystemExit) as error:
            call.outcome, call.why = verdict(error)
            call.trace = traceback.format_exc()
    call.seconds = time.perf_counter() - start
    if call.outcome in ("ok", "refused"):
        # What a function of the user's warns of is the user's.
        others = [w for w in warned if Path(w.filename).name != "fuzz_values.py"]
        strange = [w for w in others if not issubclass(w.category, errors.ModelWarning)]
        if arguments != [imprint(value) for _, value, _ in given]:
            call.outcome, call.why = "changed", "an argument"
        elif call.outcome == "refused" and before != imprint(model):
            call.outcome, call.why = "changed", f"the model: {', '.join(differing(before, imprint(model)))}"
        elif strange:
            w = strange[0]
            call.outcome, call.why = "warned", f"{w.category.__name__}: {w.message} ({place(w.filename)}:{w.lineno})"


def differing(before: Any, after: Any) -> list[str]:
    return [name for name in {**before[1], **after[1]} if before[1].get(name) != after[1].get(name)]


def verdict(error: BaseException) -> tuple[str, str]:
    """Return the kind of an error, and what it says."""
    said = f"{type(error).__name__}: {str(error)[:300]}"
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1]
    where = f" ({place(last.filename)}:{last.lineno})"
    if isinstance(error, errors.RError):
        # A verb that stops on purpose speaks as pymer4 does: in sentences, with what to do.
        known = _MATHEMATICAL.search(error.message) or _USERS_CODE.search(error.message) or error.advice
        return ("refused", said) if known else ("foreign", said)
    if isinstance(error, errors.Pymer4Error):
        return "refused", said
    ours = f"{os.sep}pymer4{os.sep}" in last.filename
    if ours and isinstance(error, TypeError) and last.lineno in raises(last.filename):
        return "refused", said
    own = [one for one in frames if f"{os.sep}pymer4{os.sep}" in one.filename]
    if own and "func(*" in (own[-1].line or ""):
        # What a function of the user's raises is the user's.
        return "refused", said
    inside = f" from {place(own[-1].filename)}:{own[-1].lineno}" if own and not ours else ""
    return ("internal" if ours else "foreign"), f"{said}{where}{inside}"


@cache
def raises(filename: str) -> set[int]:
    """Return the lines of a file that belong to a `raise`."""
    nodes = ast.walk(ast.parse(Path(filename).read_text("utf-8")))
    found = [node for node in nodes if isinstance(node, ast.Raise) and node.exc is not None]
    return {line for node in found for line in range(node.lineno, node.end_lineno + 1)}


def place(filename: str) -> str:
    return "/".join(Path(filename).parts[-2:])


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
            judged(subject, model, given, call)
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


def figures(calls: list[Call]) -> pd.DataFrame:
    """Return how many calls of each callable ended how."""
    kinds = ["ok", "refused", "internal", "foreign", "changed", "warned"]
    counted = Counter((call.subject, call.outcome) for call in calls)
    names = sorted({call.subject for call in calls})
    return pd.DataFrame([[counted[name, kind] for kind in kinds] for name in names], names, kinds)


def findings(calls: list[Call]) -> list[Call]:
    return [call for call in calls if call.outcome not in ("ok", "refused")]


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
    with open(
        os.devnull if given.json is None else f"{given.json}.log", "w", encoding="utf-8", errors="replace"
    ) as file:
        calls = run(given.seed, numbers, given.only, lambda text: print(text, file=file, flush=True))
    if given.json:
        Path(given.json).write_text(json.dumps([vars(call) for call in calls]), "utf-8")
    print(figures(calls).to_string())
    for call in findings(calls) if given.case is None else calls:
        print(
            f"\n{given.seed}:{call.number} {call.outcome}: {call.told}\n    {call.why}".encode(
                "ascii", "replace"
            ).decode()
        )
        if given.case is not None:
            print(call.trace)


def bounded(gigabytes: int = 6) -> None:
    """Let what asks for too much memory end in an error, where the system can do that."""
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (gigabytes * 2**30,) * 2)


if __name__ == "__main__":
    main()
