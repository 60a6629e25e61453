"""Documented names of resampling on arrays: what a statistician can use alone.

| about | functions |
| --- | --- |
| limits and p of draws | `compute_bootstrap_ci`, by name `.._percentile`, `.._basic`, `.._bca`; `compute_bootstrap_pvalue`, `compute_pvalues` |
| which rows | `generate_bootstrap_indices`, `generate_permutation_indices`, `generate_kfold_indices`, `generate_kfold_splits`, `generate_group_kfold_splits`, `generate_loo_indices` |
| refits | `build_lm_coefficient_operator`, `compute_batched_ols_bootstrap`, `compute_batched_glm_bootstrap`, `compute_jackknife_coefs` |
| a function of your own | `run_bootstrap_iterations`, `collect_boot_samples`, `warn_on_failures`, `BootstrapResult` |
| outcomes from a model | `simulate_response`, `simulate_gaussian`, `simulate_binomial`, `simulate_poisson`, `simulate_from_lmer`, `simulate_from_glmer` |
| df, errors, formulas | `compute_satterthwaite_emm_df`; `resolve_error_type`; `build_ablated_formula`, `remove_predictor_from_formula`, `parse_value` |

`rng` and `seed` are a whole number, None, or a `numpy.random.Generator`, which moves on.
"""  # noqa: E501

from __future__ import annotations

from pymer4.data.ablation import build_ablated_formula, parse_value, remove_predictor_from_formula
from pymer4.infer.responses import (
    simulate_binomial,
    simulate_from_glmer,
    simulate_from_lmer,
    simulate_gaussian,
    simulate_poisson,
    simulate_response,
)
from pymer4.statistics.iterations import (
    BootstrapResult,
    collect_boot_samples,
    run_bootstrap_iterations,
    warn_on_failures,
)
from pymer4.statistics.limits import (
    BCa_MIN_NBOOT,
    compute_bootstrap_ci,
    compute_bootstrap_ci_basic,
    compute_bootstrap_ci_bca,
    compute_bootstrap_ci_percentile,
    compute_bootstrap_pvalue,
    compute_pvalues,
)
from pymer4.statistics.refits import (
    build_lm_coefficient_operator,
    compute_batched_glm_bootstrap,
    compute_batched_ols_bootstrap,
    compute_jackknife_coefs,
    compute_satterthwaite_emm_df,
    resolve_error_type,
)
from pymer4.statistics.rows import (
    generate_bootstrap_indices,
    generate_group_kfold_splits,
    generate_kfold_indices,
    generate_kfold_splits,
    generate_loo_indices,
    generate_permutation_indices,
)

__all__ = [
    "BCa_MIN_NBOOT",
    "BootstrapResult",
    "build_ablated_formula",
    "build_lm_coefficient_operator",
    "collect_boot_samples",
    "compute_batched_glm_bootstrap",
    "compute_batched_ols_bootstrap",
    "compute_bootstrap_ci",
    "compute_bootstrap_ci_basic",
    "compute_bootstrap_ci_bca",
    "compute_bootstrap_ci_percentile",
    "compute_bootstrap_pvalue",
    "compute_jackknife_coefs",
    "compute_pvalues",
    "compute_satterthwaite_emm_df",
    "generate_bootstrap_indices",
    "generate_group_kfold_splits",
    "generate_kfold_indices",
    "generate_kfold_splits",
    "generate_loo_indices",
    "generate_permutation_indices",
    "parse_value",
    "remove_predictor_from_formula",
    "resolve_error_type",
    "run_bootstrap_iterations",
    "simulate_binomial",
    "simulate_from_glmer",
    "simulate_from_lmer",
    "simulate_gaussian",
    "simulate_poisson",
    "simulate_response",
    "warn_on_failures",
]
