"""What every run of the tests begins with."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cases
import hermetic
import hypothesis
import no_r
import numpy as np
import pytest
import samples

if TYPE_CHECKING:
    import pandas as pd

    from pymer4 import Lmer

if no_r.is_asked():
    no_r.hide()
_IN_SIGHT = hermetic.isolate()

hypothesis.settings.register_profile("the same each time", derandomize=True)


def pytest_configure(config: pytest.Config) -> None:
    """Draw the same examples on every machine; new ones where the slow tests run, which look for what is unknown."""
    if "not slow" in config.option.markexpr.replace("slow or not slow", ""):
        hypothesis.settings.load_profile("the same each time")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Without R leave modules alone of which every test needs it: what they are parametrised over may come from R."""
    if not no_r.is_asked() or collection_path.suffix != ".py":
        return None
    text = collection_path.read_text("utf-8")
    return re.search(r"^pytestmark = \[?pytest\.mark\.r\b", text, re.MULTILINE) is not None or None


def pytest_report_header() -> str:
    """Say which undeclared R packages a test could use by chance, or that there is no R."""
    if no_r.is_asked():
        return "R is hidden"
    if not _IN_SIGHT:
        return "R sees the packages that the set-up names, and no others"
    named = ", ".join(_IN_SIGHT)
    return f"R's own library has packages that the set-up does not name, which can't be hidden: {named}"


@pytest.fixture(autouse=True)
def figures_closed() -> Iterator[None]:
    """No figure is left open for the next test."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def strict() -> Iterator[None]:
    """Nothing may warn unless a test waits for it, and NumPy's global state stays as it was."""
    before = np.random.get_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # What the oldest pandas and matplotlib call of newer NumPy and pyparsing is theirs.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"(pandas|matplotlib|pyparsing)\.")
        yield
    np.testing.assert_equal(np.random.get_state(), before)


@pytest.fixture
def refits_in_r(monkeypatch: pytest.MonkeyPatch) -> None:
    """R refits linear models too, whose draws are then those of R's generator."""
    monkeypatch.setattr("pymer4.models.lmer_draws.LmerDraws._refits", "R")


# Frames, each in a copy of one's own.


@pytest.fixture
def sleep() -> pd.DataFrame:
    """R's sleepstudy: Reaction, Days, Subject; 180 rows."""
    return samples.dataset("sleepstudy")


@pytest.fixture
def herds() -> pd.DataFrame:
    """R's cbpp: incidence of size, by period and herd; 56 rows."""
    return samples.dataset("cbpp")


@pytest.fixture
def oats() -> pd.DataFrame:
    """R's Oats: yield by Variety and nitro in Block; 72 rows."""
    return samples.dataset("Oats")


@pytest.fixture
def pigs() -> pd.DataFrame:
    """emmeans' pigs: conc by source and percent; 29 rows."""
    return samples.dataset("pigs")


@pytest.fixture
def trial() -> pd.DataFrame:
    """24 groups by 12 items with outcomes of every family; see `samples.trial`."""
    return samples.trial()


@pytest.fixture
def holes() -> pd.DataFrame:
    """The trial with missing values in y, x and g."""
    return samples.with_holes()


# Models fitted once for the whole run: tests read them. One that would change a model fits one of its own, or copies.


@pytest.fixture(scope="session")
def sleep_model() -> Lmer:
    """A linear model with correlated slopes."""
    return cases.case("slopes")


@pytest.fixture(scope="session")
def herds_model() -> Lmer:
    """A binomial model of proportions, weighted by their sizes."""
    formula = "incidence / size ~ period + (1 | herd)"
    return samples.fitted(formula, samples.dataset("cbpp"), family="binomial", weights="size")


@pytest.fixture(scope="session")
def oats_model() -> Lmer:
    """A linear model with an interaction of a factor and a number."""
    return samples.fitted("yield ~ Variety * nitro + (1 | Block)", samples.dataset("Oats"))


@pytest.fixture(scope="session")
def trial_model() -> Lmer:
    """A linear model with text, bool and ordered predictors, slopes, and two crossed grouping factors."""
    return cases.case("factors")
