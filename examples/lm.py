"""Unequal groups: a regression with robust errors, Welch's test and a bootstrap, without R."""

import numpy as np
import pandas as pd

from pymer4 import Lm

rng = np.random.default_rng(7)
groups = np.repeat(["control", "treated"], [40, 20])
score = np.where(groups == "treated", 12.0, 10.0) + np.where(groups == "treated", 4, 1) * rng.normal(size=60)
data = pd.DataFrame({"group": groups, "age": rng.uniform(20, 60, 60), "score": score})

model = Lm("score ~ group + center(age)", data)
model.fit(robust="hc3")

welch = Lm("score ~ group", data)
welch.fit(weights="group", summarize=False)
row = welch.coefs.loc["group[T.treated]"]
print(f"\nWelch's t-test: t({row['DF']:.2f}) = {row['T-stat']:.3f}, p = {row['P-val']:.4f}")

model.fit(conf_int="boot", n_boot=2000, seed=1, summarize=False)
print(f"\nBootstrap limits:\n{model.coefs[['2.5_ci', '97.5_ci', 'P-val']].round(3)}")

new = pd.DataFrame({"group": ["control", "treated"], "age": [30.0, 30.0]})
print(f"\nPredicted at 30:\n{model.predict(new, interval='confidence').round(2)}")
