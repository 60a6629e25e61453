"""The documented names: where they are, which arguments they take, in which order and with which defaults."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from functools import cache

import numpy as np
import pandas as pd
import pytest
import samples
from samples import trial

import pymer4
from pymer4.errors import NotFittedError, OptionError

_LISTED = {
    "models": "Lm Lm2 Lmer",
    "simulate": "easy_multivariate_normal simulate_lm simulate_lmm",
    "stats": "boot_func cohens_d correct_pvals discrete_inverse_logit lrt perm_test rsquared rsquared_adj "
    "tost_equivalence vif welch_dof",
    "utils": "R2con con2R get_resource_path isPSD nearestPSD result_to_table",
    "io": "load_model save_model",
    "datasets": "load_dataset",
    "doctor": "Check checks main table",
    "sklearn": "Lm2Classifier Lm2Regressor LmClassifier LmRegressor LmerClassifier LmerRegressor",
    "models.comparison": "compare lrt",
    "resampling": "BCa_MIN_NBOOT BootstrapResult build_ablated_formula build_lm_coefficient_operator "
    "collect_boot_samples compute_batched_glm_bootstrap compute_batched_ols_bootstrap compute_bootstrap_ci "
    "compute_bootstrap_ci_basic compute_bootstrap_ci_bca compute_bootstrap_ci_percentile compute_bootstrap_pvalue "
    "compute_jackknife_coefs compute_pvalues compute_satterthwaite_emm_df generate_bootstrap_indices "
    "generate_group_kfold_splits generate_kfold_indices generate_kfold_splits generate_loo_indices "
    "generate_permutation_indices parse_value remove_predictor_from_formula resolve_error_type "
    "run_bootstrap_iterations simulate_binomial simulate_from_glmer simulate_from_lmer simulate_gaussian "
    "simulate_poisson simulate_response warn_on_failures",
    "errors": "ConvergenceWarning DataError FileError FormulaError MissingFileError MissingLibrary ModelWarning "
    "NotFittedError OptionError Pymer4Error RError RUnavailable WorkerError",
}
NAMES = {module: names.split() for module, names in _LISTED.items()}

SIGNATURES = {
    "models.Lmer": "(formula, data, family='gaussian')",
    "models.Lmer.anova": "(force_orthogonal=False)",
    "models.Lmer.fit": "(conf_int='Wald', n_boot=500, factors=None, permute=False, ordered=False, verbose=False, "
    "REML=True, rank=False, rank_group='', rank_exclude_cols=[], no_warnings=False, control='', old_optimizer=False, "
    "**kwargs)",
    "models.Lmer.plot": "(param, figsize=(8, 6), xlabel='', ylabel='', plot_fixef=True, plot_ci=True, grps=[], "
    "ax=None)",
    "models.Lmer.plot_summary": "(figsize=(12, 6), error_bars='ci', ranef=True, axlim=None, plot_intercept=True, "
    "ranef_alpha=0.5, coef_fmt='o', orient='v', ranef_idx=0)",
    "models.Lmer.post_hoc": "(marginal_vars, grouping_vars=None, p_adjust='tukey', summarize=True, verbose=False)",
    "models.Lmer.predict": "(data, use_rfx=False, pred_type='response', verbose=False)",
    "models.Lmer.simulate": "(num_datasets, use_rfx=True, verbose=False)",
    "models.Lm": "(formula, data, family='gaussian')",
    "models.Lm.fit": "(robust=False, conf_int='standard', permute=False, rank=False, verbose=False, n_boot=500, "
    "n_jobs=1, n_lags=1, cluster=None, weights=None, wls_dof_correction=True, **kwargs)",
    "models.Lm.predict": "(data)",
    "models.Lm.summary": "()",
    "models.Lm.to_corrs": "(corr_type='semi', ztrans_corrs=False)",
    "models.Lm2": "(formula, data, group, family='gaussian')",
    "models.Lm2.fit": "(robust=False, conf_int='standard', permute=False, perm_on='tstat', rank=False, verbose=False, "
    "n_boot=500, n_jobs=1, n_lags=1, to_corrs=False, ztrans_corrs=True, cluster=None, **kwargs)",
    "models.Lm2.plot_summary": "(figsize=(12, 6), error_bars='ci', ranef=True, axlim=None, ranef_alpha=0.5, "
    "coef_fmt='o', orient='v', **kwargs)",
    "simulate.easy_multivariate_normal": "(num_obs, num_features, corrs, mu=0.0, sigma=1.0, seed=None, forcePSD=True, "
    "return_new_corrs=False, nit=100)",
    "simulate.simulate_lm": "(num_obs, num_coef, coef_vals=None, corrs=None, mus=0.0, sigmas=1.0, "
    "noise_params=(0, 1), family='gaussian', seed=None)",
    "simulate.simulate_lmm": "(num_obs, num_coef, num_grps, coef_vals=None, corrs=None, grp_sigmas=0.25, mus=0.0, "
    "sigmas=1.0, noise_params=(0, 1), family='gaussian', seed=None)",
    "stats.boot_func": "(x, y=None, func=None, func_args={}, paired=False, n_boot=500, n_jobs=1, seed=None)",
    "stats.cohens_d": "(x, y=None, paired=False, n_boot=1000, equal_var=False, value=0, n_jobs=1, seed=None)",
    "stats.discrete_inverse_logit": "(arr)",
    "stats.perm_test": "(x, y=None, stat='tstat', n_perm=1000, equal_var=False, tails=2, return_dist=False, n_jobs=1, "
    "seed=None)",
    "stats.rsquared": "(y, res, has_constant=True)",
    "stats.rsquared_adj": "(r, nobs, df_res, has_constant=True)",
    "stats.tost_equivalence": "(x, y, lower, upper, paired=False, equal_var=False, n_perm=1000, n_boot=5000, "
    "plot=False, seed=None)",
    "stats.vif": "(df, has_intercept=True, exclude_intercept=True, tol=5.0, check_only=False)",
    "stats.welch_dof": "(x, y)",
    "stats.lrt": "(models, refit=True)",
    "utils.R2con": "(arr)",
    "utils.con2R": "(arr, names=None)",
    "utils.isPSD": "(mat, tol=1e-08)",
    "utils.nearestPSD": "(mat, nit=100)",
    "utils.get_resource_path": "()",
    "utils.result_to_table": "(model, drop_intercept=True, iv_name='Predictor', round=True, pval_text='< .001', "
    "pval_thresh=0.001)",
    "io.load_model": "(filepath)",
    "io.save_model": "(model, filepath, compression='zlib', **kwargs)",
    "resampling.BootstrapResult": "(observed, boot_samples, ci_lower, ci_upper, param_names, n_boot, ci_type, level, "
    "term_types=None)",
    "resampling.build_ablated_formula": "(response_var, source_terms, ablate_term, random_terms=())",
    "resampling.build_lm_coefficient_operator": "(X, method='cholesky')",
    "resampling.collect_boot_samples": "(boot_samples_list, n_boot, context='Bootstrap')",
    "resampling.compute_batched_glm_bootstrap": "(boot_indices, X, y, family)",
    "resampling.compute_batched_ols_bootstrap": "(boot_indices, X, y, chunk_size=None)",
    "resampling.compute_bootstrap_ci": "(coef_obs, boot_samples_valid, ci_type, level, jackknife_stats=None)",
    "resampling.compute_bootstrap_ci_basic": "(observed, boot_stats, level=0.95)",
    "resampling.compute_bootstrap_ci_bca": "(boot_stats, observed, jackknife_stats=None, level=0.95)",
    "resampling.compute_bootstrap_ci_percentile": "(boot_stats, level=0.95)",
    "resampling.compute_bootstrap_pvalue": "(observed, boot_samples, null=0.0, alternative='two-sided')",
    "resampling.compute_jackknife_coefs": "(X, y, family='gaussian')",
    "resampling.compute_pvalues": "(observed_stats, null_stats, alternative='two-sided')",
    "resampling.compute_satterthwaite_emm_df": "(L, vcov, jacobian, vcov_varpar)",
    "resampling.generate_bootstrap_indices": "(rng, n, n_boot)",
    "resampling.generate_group_kfold_splits": "(group_ids, k, seed=None)",
    "resampling.generate_kfold_indices": "(rng, n, k, shuffle=True)",
    "resampling.generate_kfold_splits": "(n, k, seed=None)",
    "resampling.generate_loo_indices": "(n)",
    "resampling.generate_permutation_indices": "(rng, n, n_perm)",
    "resampling.parse_value": "(s)",
    "resampling.remove_predictor_from_formula": "(formula, predictor)",
    "resampling.resolve_error_type": "(errors, family='gaussian')",
    "resampling.run_bootstrap_iterations": "(iteration_fn, rngs, n_boot, iter_kwargs, n_jobs=1, verbose=False, "
    "desc='Bootstrap')",
    "resampling.simulate_binomial": "(rng, mu, weights=None)",
    "resampling.simulate_from_glmer": "(rng, X, Z, beta, theta, family, n_groups_list, re_structure, metadata=None, "
    "weights=None)",
    "resampling.simulate_from_lmer": "(rng, X, Z, beta, theta, sigma, n_groups_list, re_structure, metadata=None)",
    "resampling.simulate_gaussian": "(rng, mu, dispersion)",
    "resampling.simulate_poisson": "(rng, mu)",
    "resampling.simulate_response": "(rng, mu, family, dispersion=1.0, weights=None)",
    "resampling.warn_on_failures": "(n_failed, n_total, context='Bootstrap')",
}


def found(path: str):
    module, *names = path.split(".")
    place = importlib.import_module(f"pymer4.{module}")
    for name in names:
        place = getattr(place, name)
    return place


def plain(default):
    """Return a default as the documentation spells it: what can't be changed stands for what can."""
    if isinstance(default, Mapping):
        return dict(default)
    return [] if default == () else default


@pytest.mark.parametrize("path", SIGNATURES)
def test_a_documented_signature_stands(path):
    """Its arguments come first, in their order and with their defaults; others are keyword-only."""
    wanted = inspect.signature(eval(f"lambda {SIGNATURES[path][1:-1]}: 0"))
    here = [p for p in inspect.signature(found(path)).parameters.values() if p.name != "self"]
    named = [p for p in here if p.kind is p.POSITIONAL_OR_KEYWORD]
    documented = [p for p in wanted.parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert [(p.name, plain(p.default)) for p in named] == [(p.name, plain(p.default)) for p in documented]
    assert all(p.default is not p.empty for p in here if p.kind is p.KEYWORD_ONLY)
    open_end = [p.name for p in wanted.parameters.values() if p.kind is p.VAR_KEYWORD]
    assert not open_end or here[-1].kind is inspect.Parameter.VAR_KEYWORD
    assert not any(p.kind is p.VAR_POSITIONAL for p in here)


# ------------------------------------------------------------------ where the names are


def test_a_module_lists_the_documented_names_and_a_star_imports_them():
    stars = {}
    for module in ["", *NAMES]:
        place: dict[str, object] = {}
        exec(f"from pymer4{'.' * bool(module)}{module} import *", place)
        stars[module] = sorted(name for name in place if name[0] != "_")
    assert stars.pop("") == sorted(name for name in pymer4.__all__ if name[0] != "_")
    assert stars == {module: sorted(names) for module, names in NAMES.items()}
    assert all(sorted(found(module).__all__) == sorted(names) for module, names in NAMES.items())


def test_the_package_has_the_names_of_its_modules():
    for module in ("models", "simulate", "stats", "utils", "io", "datasets"):
        for name in NAMES[module]:
            assert name in pymer4.__all__ and getattr(pymer4, name) is getattr(found(module), name)


# ------------------------------------------------------------------ what a fitted model shows, and what is returned

COMMON = {
    **dict.fromkeys(("formula", "family", "sig_type"), str),
    **dict.fromkeys(("data", "coefs", "design_matrix"), pd.DataFrame),
    **dict.fromkeys(("AIC", "BIC", "logLike"), float),
    **dict.fromkeys(("residuals", "fits"), np.ndarray),
    **{"fitted": bool, "warnings": list},
}
QUALITY = {"se_type": str, "rsquared": float, "rsquared_adj": float}
ATTRIBUTES = {
    "Lm": COMMON | QUALITY | {"estimator": str},
    "Lm2": COMMON | QUALITY | {"grps": dict, "fixef": pd.DataFrame},
    "Lmer": COMMON
    | {"grps": dict, "factors": dict}
    | dict.fromkeys(("ranef", "fixef", "ranef_var", "ranef_corr"), pd.DataFrame),
}


@pytest.mark.parametrize("name", ["Lm", "Lm2", pytest.param("Lmer", marks=pytest.mark.r)])
def test_a_fitted_model_has_the_documented_attributes(name):
    formula = "y ~ x + flag + (x | g)" if name == "Lmer" else "y ~ x + flag"
    frame = trial().assign(flag=lambda d: np.where(d.flag, "a", "b"))
    model = getattr(pymer4, name)(formula, frame, **({"group": "g"} if name == "Lm2" else {}))
    how = {} if name == "Lm2" else {"factors": {"flag": ["b", "a"]}}
    shown = model.fit(**how)
    assert isinstance(shown, pd.DataFrame) and shown.equals(model.coefs.round(3))
    for attribute, kind in ATTRIBUTES[name].items():
        assert isinstance(getattr(model, attribute), kind), attribute
    assert {"fits", "residuals"} <= set(model.data.columns)
    assert len(model.fits) == len(model.residuals) == 240
    assert isinstance(model.predict(frame), np.ndarray) and model.predict(frame).shape == (240,)
    assert name == "Lm2" or model.factors == how["factors"]
    assert (model.model_obj is not None) == (name == "Lmer")


def kinds(value) -> object:
    return tuple(map(kinds, value)) if isinstance(value, tuple) else type(value)


RETURNS = {
    "easy_multivariate_normal": (lambda: pymer4.easy_multivariate_normal(5, 2, 0.1), np.ndarray),
    "and correlations": (lambda: pymer4.easy_multivariate_normal(5, 2, 0.1, return_new_corrs=True), (np.ndarray,) * 2),
    "simulate_lm": (lambda: pymer4.simulate_lm(9, 2), (pd.DataFrame, np.ndarray)),
    "simulate_lmm": (lambda: pymer4.simulate_lmm(9, 2, 3), (pd.DataFrame, pd.DataFrame, np.ndarray)),
    "boot_func": (lambda: pymer4.boot_func(X, func=np.mean, n_boot=9), (float, np.ndarray)),
    "cohens_d": (lambda: pymer4.cohens_d(X, Y, n_boot=9), (float, np.ndarray)),
    "cohens_d alone": (lambda: pymer4.cohens_d(X, Y, n_boot=0), float),
    "discrete_inverse_logit": (lambda: pymer4.discrete_inverse_logit(X), np.ndarray),
    "perm_test": (lambda: pymer4.perm_test(X, Y, n_perm=9), (float, float)),
    "and statistics": (lambda: pymer4.perm_test(X, Y, n_perm=9, return_dist=True), (float, float, np.ndarray)),
    "perm_test, parametric": (lambda: pymer4.perm_test(X, Y, n_perm=0), (float, float)),
    "rsquared": (lambda: pymer4.rsquared(np.array(X), np.array(Y)), float),
    "rsquared_adj": (lambda: pymer4.rsquared_adj(0.5, 20, 17), float),
    "tost_equivalence": (lambda: pymer4.tost_equivalence(X, Y, -1, 1, n_perm=9, n_boot=9), dict),
    "vif": (lambda: pymer4.vif(regression().design_matrix), dict),
    "vif above": (lambda: pymer4.vif(regression().design_matrix, check_only=True), dict),
    "welch_dof": (lambda: pymer4.welch_dof(X, Y), float),
    "R2con": (lambda: pymer4.R2con(np.eye(3)[:, 1:]), np.ndarray),
    "con2R": (lambda: pymer4.con2R([1, 0, -1]), np.ndarray),
    "con2R with names": (lambda: pymer4.con2R([1, 0, -1], names=["slope"]), pd.DataFrame),
    "isPSD": (lambda: pymer4.isPSD(np.eye(2)), bool),
    "nearestPSD": (lambda: pymer4.nearestPSD(np.eye(2)), np.ndarray),
    "get_resource_path": (lambda: pymer4.get_resource_path(), str),
    "to_corrs": (lambda: regression().to_corrs(), pd.Series),
}


@pytest.mark.parametrize("name", RETURNS)
def test_what_is_returned_is_of_the_documented_kind(name):
    call, kind = RETURNS[name]
    assert kinds(call()) == kind


# ------------------------------------------------------------------ both spellings

X, Y = [5.1, 4.9, 6.2, 5.7, 5.5], [4.1, 4.6, 4.4, 3.9, 5.0]


@cache
def regression():
    frame = pd.DataFrame({"y": [1.0, 3, 2, 5, 4], "x": [0.0, 1, 2, 3, 5], "z": [1.0, 0, 1, 1, 0]})
    return samples.regression("y ~ x + z", frame)


def two_stage(**how) -> pd.DataFrame:
    model = pymer4.Lm2("y ~ x", trial(), "g")
    model.fit(summarize=False, to_corrs=True, **how)
    return model.coefs


_EQUIVALENCE = {"n_perm": 20, "n_boot": 20, "seed": 1}
# What is called, the argument's name, the other spelling, a value that is not the default.
SPELLINGS = [
    (lambda **how: pymer4.perm_test(X, Y, n_perm=20, seed=1, **how), "return_dist", "return_dists", True),
    (lambda **how: pymer4.tost_equivalence(X, Y, -1, 1, **_EQUIVALENCE, **how), "return_dist", "return_dists", True),
    (lambda **how: pymer4.easy_multivariate_normal(9, 2, 0.3, seed=1, **how), "forcePSD", "forcePD", False),
    (lambda **how: regression().to_corrs("partial", **how), "ztrans_corrs", "ztrans_partial_corrs", True),
    (two_stage, "ztrans_corrs", "ztrans_partial_corrs", False),
    (lambda **how: pymer4.boot_func(X, n_boot=20, seed=1, **how), "func", "function", np.median),
]


def flat(value) -> list:
    """Return all numbers of an answer."""
    if isinstance(value, Mapping):
        return [number for part in value.values() for number in flat(part)]
    if isinstance(value, (tuple, list)):
        return [number for part in value for number in flat(part)]
    if isinstance(value, pd.DataFrame):
        value = value.select_dtypes("number")
    return np.ravel(value).tolist()


@pytest.mark.parametrize(("call", "own", "other", "value"), SPELLINGS)
def test_both_spellings_of_an_argument_are_taken_and_not_at_once(call, own, other, value):
    assert flat(call(**{other: value})) == flat(call(**{own: value}))
    with pytest.raises(TypeError, match=f"was given {own} and {other}, which are one argument"):
        call(**{own: value, other: value})


def test_the_other_spelling_stands_for_an_argument_given_by_place_too():
    with pytest.raises(TypeError, match="ztrans_corrs and ztrans_partial_corrs"):
        regression().to_corrs("partial", True, ztrans_partial_corrs=True)


@pytest.mark.r
def test_the_variables_of_post_hoc_have_two_spellings():
    model = pymer4.Lmer("y ~ x + (1 | g)", pd.DataFrame({"y": [1.0, 2], "x": [0.0, 1], "g": ["a", "b"]}))
    with pytest.raises(NotFittedError):
        model.post_hoc(marginal_var="x")
    with pytest.raises(TypeError, match="marginal_vars and marginal_var, which are one argument"):
        model.post_hoc("x", marginal_var="x")


def test_the_paired_statistic_has_two_spellings():
    assert pymer4.perm_test(X, Y, "tstatpaired", 50, seed=1) == pymer4.perm_test(X, Y, "tstat-paired", 50, seed=1)


def test_permuted_statistics_of_an_equivalence_test():
    told = pymer4.tost_equivalence(X, Y, -1, 1, n_perm=30, n_boot=20, seed=1, return_dist=True)
    without = pymer4.tost_equivalence(X, Y, -1, 1, n_perm=30, n_boot=20, seed=1)
    dist = told.pop("perm_dist")
    assert dist.shape == (30,) and "perm_dist" not in without and flat(told) == flat(without)
    hits = (np.abs(dist) >= abs(told["original"]["t"]) * (1 - 1e-12)).sum()
    assert told["original"]["p"] == pytest.approx((1 + hits) / 31)
    with pytest.raises(OptionError, match="return_dist=True needs permutations"):
        pymer4.tost_equivalence(X, Y, -1, 1, n_perm=0, return_dist=True)
