"""Write the sample data that come with pymer4, `pymer4/resources/sample_data.csv`.

47 groups of 12 rows, simulated by pymer4 itself:

    Group  1 to 47
    IV1    a continuous predictor, 5 to 20
    DV_l   a binary outcome that depends on IV1 and on the group
    DV     a continuous outcome, 0 to 100, that depends on IV1, IV2, IV3 and on the group
    IV2    a continuous predictor, 0 to 100
    IV3    0.5, 1 and 1.5 in turn, each four times in a group

The seed was one of 580, of which seven let lme4 fit seven common models without a warning: with the others the
predictors, which are not centred, give a warning about convergence, or a variance is 0. In the data of this one no
group has only zeros or only ones, either. They are good for trying things out, and no evidence of how often such
models converge.

    python scripts/make_sample_data.py               write the file
    python scripts/make_sample_data.py elsewhere.csv write another
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from pymer4 import discrete_inverse_logit, get_resource_path, simulate_lmm

SEED = 272
GROUPS, ROWS = 47, 12
STEPS = (0.5, 1.0, 1.5)
STEP, STEP_SD = -8.0, 9.0
LOGIT, LOGIT_SDS = np.array([-0.3, 0.2]), np.array([0.8, 0.18])


def sample_data(seed: int = SEED) -> pd.DataFrame:
    """Return the sample data, numbers rounded to six places."""
    rng = np.random.default_rng(seed)
    data, _, _ = simulate_lmm(
        ROWS,
        2,
        GROUPS,
        coef_vals=[10, 0.6, 0.5],
        corrs=0.15,
        grp_sigmas=[14, 0.8, 0.3],
        mus=[12.5, 48],
        sigmas=[4, 24],
        noise_params=(0, 8),
        seed=rng,
    )
    data["IV3"] = np.tile(STEPS, len(data) // len(STEPS))
    row = data["Group"] - 1
    data["DV"] += (STEP + STEP_SD * rng.standard_normal(GROUPS))[row] * (data["IV3"] - 1)
    intercept, slope = (LOGIT + LOGIT_SDS * rng.standard_normal((GROUPS, 2)))[row].T
    data["DV_l"] = discrete_inverse_logit(intercept + slope * (data["IV1"] - 12.5) + rng.logistic(size=len(data)))
    data["IV1"] = data["IV1"].clip(5, 20)
    data[["DV", "IV2"]] = data[["DV", "IV2"]].clip(0, 100)
    return data[["Group", "IV1", "DV_l", "DV", "IV2", "IV3"]].round(6)


def as_text(data: pd.DataFrame) -> str:
    """Return the data as they stand in the file."""
    return data.to_csv(index=False, lineterminator="\n")


if __name__ == "__main__":
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(get_resource_path()) / "sample_data.csv"
    path.write_text(as_text(sample_data()), "utf-8", newline="\n")
    print(f"{path}: {GROUPS * ROWS} rows")
