"""Rows about mixed models."""

from __future__ import annotations

import compileall
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from measure import Peer, Row, alternate, child, timed, write_columns

SLOPES = "y ~ x + (x | g)"
FITS = {
    "sleepstudy": ("Reaction ~ Days + (Days | Subject)", 0, 25, 1.0),
    "InstEval": ("y ~ service + (1 | s) + (1 | d)", 0, 3, 0.6),
    "100,000 rows": (SLOPES, 100_000, 3, 0.6),
    "1,000,000 rows": (SLOPES, 1_000_000, 3, 0.6),
}


def simulated(n: int, groups: int = 1000, seed: int = 1) -> pd.DataFrame:
    """Return n rows with a random intercept and slope in each of the groups."""
    rng = np.random.default_rng(seed)
    g = np.arange(n) % groups
    x = rng.normal(size=n)
    u = rng.normal(size=(groups, 2)) * [1.0, 0.5]
    return pd.DataFrame({"y": 1 + 0.5 * x + u[g, 0] + u[g, 1] * x + rng.normal(size=n), "x": x, "g": g})


def fit_ratio(name: str) -> list[Row]:
    """Return a row of the table: medians of pymer4, R and lme4, and their ratios."""
    from pymer4 import Lmer, load_dataset

    formula, rows, runs, bound = FITS[name]
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer()
        if rows:
            data = simulated(rows)
            write_columns(data, folder)
            peer.ask("data", "simulated", folder, rows)
            data["g"] = data["g"].astype("category")
        else:
            data = load_dataset(name)
            peer.ask("data", name)
        model = Lmer(formula, data)
        times = alternate(
            runs,
            pymer4=lambda: timed(lambda: model.fit(summarize=False, no_warnings=True)),
            R=lambda: peer.ask("lmerTest", formula),
            lme4=lambda: peer.ask("lme4", formula),
        )
        peer.close()
    ours, theirs, plain = (statistics.median(times[k]) for k in ("pymer4", "R", "lme4"))
    return [Row(name, ours, theirs, bound, plain)]


def glmer_ratio() -> list[Row]:
    """Return a row: a logistic mixed model of 10,000 rows and 100 groups, over glmer and its summary."""
    from pymer4 import Lmer

    data = simulated(10_000, groups=100)
    data["y"] = (data["y"] > 1).astype(float)
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer()
        write_columns(data, folder)
        peer.ask("data", "simulated", folder, len(data))
        data["g"] = data["g"].astype("category")
        model = Lmer("y ~ x + (1 | g)", data, family="binomial")
        times = alternate(
            7,
            pymer4=lambda: timed(lambda: model.fit(summarize=False, no_warnings=True)),
            R=lambda: peer.ask("glmer", "y ~ x + (1 | g)"),
        )
        peer.close()
    return [Row("glmer 10,000", *(statistics.median(times[k]) for k in ("pymer4", "R")), 1.1)]


def post_hoc_ratio() -> list[Row]:
    """Return a row: the first pairwise comparisons of a fit with 3 x 2 cells and 1,800 rows, over emmeans and pairs."""
    from pymer4 import Lmer

    rng, n = np.random.default_rng(1), 1800
    cell, g = np.arange(n) % 6, np.arange(n) // 6 % 30
    y = 0.2 * cell + rng.normal(size=30)[g] + rng.normal(size=n)
    data = pd.DataFrame({"y": y, "a": cell % 3, "b": cell // 3, "g": g}, dtype=float)
    formula = "y ~ a * b + (1 | g)"
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer()
        write_columns(data, folder)
        peer.ask("data", "simulated", folder, n)
        peer.ask("fit with df", formula)
        model = Lmer(formula, data.astype(dict.fromkeys("abg", int)).astype(dict.fromkeys("abg", "category")))

        def first_question() -> float:
            model.fit(summarize=False)
            return timed(lambda: model.post_hoc("a", "b", summarize=False))

        times = alternate(15, pymer4=first_question, R=lambda: peer.ask("post_hoc", formula))
        peer.close()
    return [Row("post_hoc", *(statistics.median(times[k]) for k in ("pymer4", "R")), 1.1)]


FIRST_FIT = (
    "from pymer4 import Lmer, load_dataset;"
    "Lmer('Reaction ~ Days + (Days | Subject)', load_dataset('sleepstudy')).fit(summarize=False)"
)


def start_ratio() -> list[Row]:
    """Return a row: the import and first fit of a process, less what a fit takes, over an Rscript that loads lme4."""
    import pymer4

    compileall.compile_dir(Path(pymer4.__file__).parent, quiet=1)  # as it is installed
    code = f"import time; start = time.perf_counter(); {FIRST_FIT}; print(time.perf_counter() - start)"
    model = pymer4.Lmer(FITS["sleepstudy"][0], pymer4.load_dataset("sleepstudy"))
    times = alternate(
        7,
        pymer4=lambda: float(subprocess.check_output([sys.executable, "-c", code])),
        R=lambda: child("Rscript", "-e", "loadNamespace('lme4')")[0],
        fit=lambda: timed(lambda: model.fit(summarize=False)),
    )
    ours, theirs, fit = (statistics.median(times[k]) for k in ("pymer4", "R", "fit"))
    return [Row("first fit", ours - fit, theirs, 1.4)]


def cold_ratio() -> list[Row]:
    """Return a row: a process from its start to its first fit, over bare Python plus an Rscript that fits the same."""
    script = "library(lmerTest); m <- lmer(Reaction ~ Days + (Days | Subject), lme4::sleepstudy); s <- summary(m)"
    times = alternate(
        7,
        pymer4=lambda: child(sys.executable, "-c", FIRST_FIT)[0],
        python=lambda: child(sys.executable, "-c", "import numpy, pandas")[0],
        R=lambda: child("Rscript", "--vanilla", "-e", script)[0],
    )
    ours, python, theirs = (statistics.median(times[k]) for k in ("pymer4", "python", "R"))
    return [Row("cold process", ours, python + theirs, 1.3)]


def memory_ratio(engine: str, bound: float, rows: int = 1_000_000) -> list[Row]:
    """Return a row: peak memory of a process that fits the simulated rows by an engine, over that of an Rscript."""
    with tempfile.TemporaryDirectory() as folder:
        write_columns(simulated(rows), folder)
        read = f"np.fromfile('{folder}/' + k)"
        ours = child(
            sys.executable,
            "-c",
            "import numpy as np, pandas as pd, pymer4;"
            f"d = pd.DataFrame({{k: {read} for k in 'yxg'}}); d['g'] = d['g'].astype(int).astype('category');"
            f"pymer4.Lmer('{SLOPES}', d).fit(engine='{engine}', summarize=False)",
        )[1]
        column = f"readBin(file.path('{folder}', name), 'double', {rows})"
        theirs = child(
            "Rscript",
            "--vanilla",
            "-e",
            f"library(lmerTest); read <- function(name) {column};"
            f"d <- data.frame(y = read('y'), x = read('x'), g = factor(read('g'))); s <- summary(lmer({SLOPES}, d))",
        )[1]
    return [Row(f"peak MiB, {engine}", ours, theirs, bound)]
