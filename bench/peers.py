"""The deviance engine beside R and beside the Python packages that pip brings (`peers.txt`), in one run.

    python bench/peers.py                  every case
    python bench/peers.py InstEval boot    only those whose names begin so

Times are medians in milliseconds, runs in turn. The second line of a case is each (RE)ML criterion less lme4's: what
is above 0 is not an optimum. `R` is `lmerTest::lmer` and its summary; `boot` is milliseconds for 1,000 parametric draws
of sleepstudy, `many` for 1,000 responses on its design.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import peer_packages as packages
from designs import CASES
from engine import known_to, of_arrays
from measure import Peer, alternate, timed

COLUMNS = ["formula", "arrays", "R", *dict.fromkeys([*packages.FITS, *packages.MANY])]
SLOW = {"statsmodels": ("1,000,000 rows", "InstEval")}  # minutes each
ONCE = 20.0  # seconds: what takes longer is timed once, at its first call


def line(name: str, values: dict[str, str]) -> str:
    """Return a line of the table."""
    return f"{name:<16}" + "".join(f"{values.get(column, ''):>13}" for column in COLUMNS)


def milliseconds(times: dict[str, list[float]], scale: float = 1.0) -> dict[str, str]:
    """Return medians as text."""
    return {name: f"{statistics.median(seconds) * 1000 * scale:,.1f}" for name, seconds in times.items()}


def fits(name: str) -> str:
    """Return two lines: times, and criteria less lme4's."""
    from pymer4 import Lmer

    case = CASES[name]
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer()
        data = known_to(peer, name, folder)
        theirs = peer.ask("criterion", case.formula)
        model = Lmer(case.formula, data)
        model.fit(engine="native", summarize=False, no_warnings=True)
        plain = data.astype({k: str for k in data.columns if isinstance(data[k].dtype, pd.CategoricalDtype)})
        from_arrays = of_arrays(model)
        found = {"formula": -2 * model.logLike - theirs}
        sides: dict[str, Callable[[], float]] = {
            "formula": lambda: timed(lambda: model.fit(engine="native", summarize=False, no_warnings=True)),
            "arrays": lambda: timed(from_arrays),
            "R": lambda: peer.ask("lmerTest", case.formula),
        }
        once: dict[str, list[float]] = {}
        for package, fit in packages.FITS.items():
            if name in SLOW.get(package, ()):
                continue
            print(f"{name}: {package} ...", file=sys.stderr, flush=True)
            start = time.perf_counter()
            try:
                criterion = fit(case.formula, plain)
            except Exception as error:  # another package's failure is a result here
                found[package] = f"{type(error).__name__}"
                continue
            seconds = time.perf_counter() - start
            if criterion is not None:
                found[package] = criterion - theirs
                if seconds > ONCE:
                    once[package] = [seconds]
                else:
                    sides[package] = lambda fit=fit: timed(lambda: fit(case.formula, plain))
        times = alternate(min(case.runs, 7), **sides) | once
        peer.close()
    gaps = {k: v if isinstance(v, str) else f"{v:.1e}" for k, v in found.items()}
    return line(name, milliseconds(times)) + "\n" + line("  less lme4's", gaps)


def boot() -> str:
    """Return a line: 1,000 parametric draws of sleepstudy."""
    from pymer4 import Lmer, load_dataset

    formula, data = CASES["sleepstudy"].formula, load_dataset("sleepstudy")
    model = Lmer(formula, data)
    model.fit(summarize=False)
    peer = Peer()
    peer.ask("data", "sleepstudy")
    peer.ask("fit", formula)
    plain = data.astype({"Subject": str})
    draws = {
        name: (lambda run=run: timed(lambda: run(formula, plain, 100)) * 10) for name, run in packages.BOOTS.items()
    }
    ours = lambda: timed(lambda: model.infer("boot", on="coefs", n_boot=1000, seed=1, profile_auto=False))  # noqa: E731
    times = alternate(1, formula=ours, R=lambda: peer.ask("bootMer alone", formula, 1000), **draws)
    peer.close()
    return line("boot 1,000", milliseconds(times))


def many() -> str:
    """Return a line: time for 1,000 responses on sleepstudy's design."""
    from pymer4 import Lmer, load_dataset

    formula, data = CASES["sleepstudy"].formula, load_dataset("sleepstudy")
    rng, count, few = np.random.default_rng(2), 10_000, 100
    Y = rng.normal(size=(180, count)) + rng.normal(size=(18, count))[pd.factorize(data["Subject"])[0]]
    model = Lmer(formula, data)
    peer = Peer()
    peer.ask("data", "sleepstudy")
    peer.ask("fit", formula)
    plain = data.astype({"Subject": str})
    with tempfile.TemporaryDirectory() as folder:
        Y[:, :few].T.tofile(f"{folder}/responses")
        loops = {
            name: (lambda run=run: timed(lambda: run(formula, plain, Y[:, :few])) * 1000 / few)
            for name, run in packages.MANY.items()
        }
        times = alternate(
            1,
            formula=lambda: timed(lambda: model.fit_many(Y)) * 1000 / count,
            R=lambda: peer.ask("refit many", formula, few, f"{folder}/responses") * 1000 / few,
            **loops,
        )
    peer.close()
    return line("many 1,000", milliseconds(times))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", help="cases, by the start of their names")
    given = parser.parse_args()
    table = {name: lambda name=name: fits(name) for name in CASES} | {"boot": boot, "many": many}
    if given.rows:
        table = {name: run for name, run in table.items() if name.startswith(tuple(given.rows))}
    print(line("", {column: column for column in COLUMNS}), flush=True)
    for run in table.values():
        print(run(), flush=True)


if __name__ == "__main__":
    main()
