"""The page agreement_engine.md: fits by the native engine beside R, model by model. Run by hand; it takes minutes.

python docs/reference/agreement_engine.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests"))

from engine_cases import REFERENCE, TIGHT, TRIAL, apart, fitted, random_case  # noqa: E402
from samples import dataset, trial, with_holes  # noqa: E402

PAGE = """# Agreement of the native engine with lme4

Written by `python docs/reference/agreement_engine.py`. Each model is fitted by `engine="native"` and by `engine="R"`
with the tolerances of its optimizer at 10⁻¹². *Deviance*: ours less R's, of the REML criterion or of −2 log-likelihood;
below 0 where R's optimizer stopped short of the least. The other columns hold the engine's numbers against what lme4
and lmerTest compute at the engine's θ, in R's own object: differences of estimates, standard errors and variances over
the largest of them, of Satterthwaite's df each over R's.

## Data sets of R

{reference}

## A simulated trial with gaps, weights, offsets, aliased columns

240 rows, 24 groups by 12 items; 5 % of several columns missing.

{trial}

## {count} random designs

One or two factors, nested or crossed, slopes, variances that are 0: the largest differences.

{designs}
"""
QUANTITIES = ("estimates", "SE", "df", "variances")


def compared(formula: str, data: pd.DataFrame, given: dict[str, str], reml: bool) -> dict[str, float]:
    """Return how far the engines are apart."""
    ours = fitted(formula, data, "native", given, REML=reml)
    theirs = fitted(formula, data, "R", given, REML=reml, control=TIGHT)
    gaps = apart(ours)
    return {"deviance": ours._fit.criterion - theirs._fit.criterion} | {name: gaps[name] for name in QUANTITIES}


def table(cases: list[tuple[str, str, pd.DataFrame, dict[str, str]]]) -> str:
    """Return the table of cases: data, formula, rows, arguments of the model; by REML and by ML."""
    lines = ["| data | formula | criterion | deviance | " + " | ".join(QUANTITIES) + " |", "|---" * 8 + "|"]
    for name, formula, data, given in cases:
        told = "".join(f", {argument}={value}" for argument, value in given.items())
        for reml in (True, False):
            found = compared(formula, data, given, reml)
            numbers = " | ".join(f"{value:.0e}" for value in found.values())
            text = formula.replace("`", "").replace("|", "\\|")
            lines.append(f"| {name} | `{text}`{told} | {'REML' if reml else 'ML'} | {numbers} |")
            print(lines[-1], flush=True)
    return "\n".join(lines)


def designs(count: int) -> str:
    """Return the largest differences over random designs, and how often R's deviance is the higher one."""
    found = pd.DataFrame([compared(*random_case(seed), {}, bool(seed % 2)) for seed in range(count)])
    above = (found["deviance"] < -1e-6).sum()
    most = ", ".join(f"{name} {found[name].max():.0e}" for name in found)
    least = -found["deviance"].min()
    return f"{most}. The deviance of R is more than 10⁻⁶ above ours in {above} of them, at most by {least:.2g}."


def main(count: int = 100) -> None:
    """Write the page."""
    reference = [(name, formula, dataset(name), {}) for name, formula in REFERENCE]
    reference.append(("InstEval", "y ~ service + (1 | s) + (1 | d)", dataset("InstEval"), {}))
    simulated = [("trial", formula, with_holes(trial()), given) for formula, given in TRIAL]
    page = PAGE.format(reference=table(reference), trial=table(simulated), count=count, designs=designs(count))
    (HERE / "agreement_engine.md").write_text(page, "utf-8")


if __name__ == "__main__":
    main()
