"""What a user writes, for type checkers alone: tests/test_types.py runs them on it."""

from __future__ import annotations

from typing_extensions import reveal_type

import pymer4
from pymer4 import Lm, Lm2, Lmer, compare, compare_table, load_dataset, load_model, lrt, save_model, simulate_lmm, stats
from pymer4.errors import DataError
from pymer4.models import Lmer as TheSame
from pymer4.sklearn import LmerRegressor
from pymer4.utils import result_to_table

sleep = load_dataset("sleepstudy")
mixed = Lmer("Reaction ~ Days + (Days | Subject)", sleep)
shown = mixed.fit(conf_int="Wald", REML=False, ddf="Satterthwaite", summarize=False)
linear = Lm("Reaction ~ Days", sleep, family="gaussian")
linear.fit(robust="hc3", summarize=False)
by_group = Lm2("Reaction ~ Days", sleep, group="Subject")
by_group.fit(summarize=False)

reveal_type(sleep)  # DataFrame
reveal_type(mixed)  # Lmer
reveal_type(linear)  # Lm
reveal_type(by_group)  # Lm2
reveal_type(TheSame("y ~ x + (1 | g)", sleep))  # Lmer
reveal_type(mixed.coefs)  # DataFrame
reveal_type(mixed.vcov)  # DataFrame | None
reveal_type(mixed.AIC)  # float | None
reveal_type(mixed.warnings)  # list[str]
reveal_type(mixed.convergence.singular)  # bool
reveal_type(mixed.summary())  # DataFrame
reveal_type(mixed.anova())  # DataFrame
reveal_type(mixed.infer("boot", on="coefs", n_boot=100, seed=1))  # Any
reveal_type(mixed.emmeans("Days", at={"Days": [0, 9]}))  # tuple[DataFrame, DataFrame | None]
reveal_type(mixed.post_hoc("Days"))  # tuple[DataFrame, DataFrame | None] | None
reveal_type(mixed.predict(sleep))  # ndarray | DataFrame
reveal_type(by_group.predict(sleep, new_levels="population"))  # ndarray
reveal_type(mixed.simulate(3, seed=1))  # DataFrame
reveal_type(mixed.confint())  # DataFrame
reveal_type(mixed.to_markdown())  # str
reveal_type(mixed.report())  # str
reveal_type(linear.test("Days = 0"))  # DataFrame
reveal_type(compare(mixed, linear))  # DataFrame
reveal_type(lrt([mixed, linear]))  # DataFrame
reveal_type(compare_table(mixed, linear))  # Sheet
reveal_type(result_to_table(linear))  # DataFrame
reveal_type(stats.vif(linear.design_matrix))  # dict[Any, float]
reveal_type(pymer4.stats.cohens_d)  # def
reveal_type(simulate_lmm(50, 2, 10, seed=1))  # tuple[DataFrame, DataFrame, ndarray]
reveal_type(LmerRegressor("y ~ x + (1 | g)").score(sleep))  # float

many = mixed.fit_many(sleep[["Reaction"]])
reveal_type(many)  # ManyFits
reveal_type(many.table)  # DataFrame
reveal_type(many.to_array("Estimate", "Days"))  # ndarray

save_model(mixed, "mixed.joblib")
reveal_type(load_model("mixed.joblib"))  # Model

try:
    linear.fit(summarize=False)
except DataError as error:
    reveal_type(error)  # DataError
