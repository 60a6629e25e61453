"""Simulated data: what goes in comes out again.

A regression, a logistic regression and a mixed model whose coefficients are known are simulated and estimated.
"""

import numpy as np
import pandas as pd

from pymer4 import Lmer, easy_multivariate_normal, simulate_lm, simulate_lmm

X, used = easy_multivariate_normal(5000, 3, [0.9, -0.2, 0.4], sigma=[1, 2, 5], return_new_corrs=True, seed=1)
pairs = np.triu_indices(3, 1)
print("Three variables, correlations 12, 13 and 23")
print(pd.DataFrame({"used": used[pairs], "drawn": np.corrcoef(X.T)[pairs]}, index=["12", "13", "23"]).round(3))

data, b = simulate_lm(2000, 2, coef_vals=[10, 1.5, -2], corrs=0.4, noise_params=(0, 3), seed=2)
design = np.column_stack([np.ones(len(data)), data[["IV1", "IV2"]]])
found = np.linalg.lstsq(design, data["DV"], rcond=None)[0]
print("\nRegression of 2,000 rows")
print(pd.DataFrame({"true": b, "estimate": found}, index=["Intercept", "IV1", "IV2"]).round(3))

data, blups, b = simulate_lmm(30, 2, 60, coef_vals=[5, 1, -0.5], grp_sigmas=[2, 0.5, 0.25], seed=8)
model = Lmer("DV ~ IV1 + IV2 + (IV1 + IV2 || Group)", data)
model.fit(summarize=False)
print("\nMixed model of 60 groups of 30")
print(model.coefs[["Estimate", "2.5_ci", "97.5_ci"]].assign(true=b).round(3))
print(model.ranef_var.assign(true=[2, 0.5, 0.25, 1]).round(3))
agreement = np.corrcoef(model.fixef["(Intercept)"], blups["Intercept"])[0, 1]
print(f"\nThe groups' intercepts, true and predicted, have a correlation of {agreement:.3f}.")

data, _, b = simulate_lmm(40, 1, 80, coef_vals=[-0.5, 1], grp_sigmas=0.5, family="binomial", seed=6)
model = Lmer("DV ~ IV1 + (IV1 || Group)", data, family="binomial")
model.fit(summarize=False)
print("\nLogistic mixed model of 80 groups of 40")
print(model.coefs[["Estimate", "2.5_ci", "97.5_ci"]].assign(true=b).round(3))
