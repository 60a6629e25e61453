"""The page agreement_engine.md: fits by the native engine beside R, model by model. Run by hand; it takes ten minutes.

python docs/reference/agreement_engine.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests"))

from engine_cases import REFERENCE, TIGHT, TRIAL, apart, fitted, random_case  # noqa: E402
from engine_loop import LOOPED, beside_loop, looped  # noqa: E402
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

One or two factors, nested or crossed, slopes, variances that are 0; each by REML and by ML: the largest differences.

{designs}

## {responses} simulated responses of one design

Responses drawn from a fit are refitted by the engine, all at once, and by R one after another: a fresh deviance
function for each, and the optimizer of `lmer` with tolerances of 10⁻¹². (`refit` is not used. In lme4 1.1-31 it sets
the criterion of a REML fit as if there were one fixed effect.) But for rounding, the engine's deviance is nowhere above
R's. R's optimizer often stops short, though, at a θ that is right to two or three digits. So Newton's steps on R's own
deviance function lead on from there, and at their end R and the engine agree. Differences are the largest over all
responses: of the deviance and of θ where R's optimizer stops; and of the deviance, θ, σ and the coefficients at R's
optimum. That of θ is over its largest entry, that of σ relative, and those of coefficients are over standard errors.

{loop}
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
    found = pd.DataFrame([compared(*random_case(seed), {}, reml) for seed in range(count) for reml in (True, False)])
    above = (found["deviance"] < -1e-6).sum()
    most = ", ".join(f"{name} {found[name].max():.0e}" for name in ("deviance", *QUANTITIES))
    least = -found["deviance"].min()
    higher = f"{above} of {len(found)} fits, at most by {least:.2g}"
    return f"{most}. The deviance of R is more than 10⁻⁶ above ours in {higher}."


def loop(count: int) -> str:
    """Return the table of simulated responses."""
    lines = [
        "| data | formula | singular | deviance, R stopped | θ, R stopped | deviance | θ | σ | coefficients |",
        "|---" * 9 + "|",
    ]
    for name, (_, formula, given) in LOOPED.items():
        found = beside_loop(looped(name), count)
        told = "".join(f", {argument}={value}" for argument, value in given.items())
        text = formula.replace("|", "\\|")
        stopped = f"{found['stopped'].min():.0e} to {found['stopped'].max():.0e}"
        gaps = [found["settled"].abs(), found["theta"], found["sigma"], found["b"]]
        numbers = [stopped, f"{found['theta_stopped'].max():.0e}", *(f"{gap.max():.0e}" for gap in gaps)]
        lines.append(f"| {name} | `{text}`{told} | {found['singular'].sum()} | {' | '.join(numbers)} |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def main(count: int = 300, responses: int = 200) -> None:
    """Write the page."""
    reference = [(name, formula, dataset(name), {}) for name, formula in REFERENCE]
    reference.append(("InstEval", "y ~ service + (1 | s) + (1 | d)", dataset("InstEval"), {}))
    simulated = [("trial", formula, with_holes(trial()), given) for formula, given in TRIAL]
    page = PAGE.format(
        reference=table(reference), trial=table(simulated), count=count, designs=designs(count), responses=responses,
        loop=loop(responses),
    )  # fmt: skip
    (HERE / "agreement_engine.md").write_text(page, "utf-8")


if __name__ == "__main__":
    main()
