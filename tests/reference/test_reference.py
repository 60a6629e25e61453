"""`Lmer` against numbers that lmerTest wrote: frozen ones first, then those of the R at hand.

`tests/reference/linear_cases.csv` names the models, `linear.R` fits them without
pymer4, and the frames are made here by the rules of `lib/frames.R`.
"""

from __future__ import annotations

import csv
import re
import subprocess
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from against_r import rinterface

from pymer4 import Lmer, load_dataset

pytestmark = pytest.mark.r

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "tests" / "reference"

# Relative tolerances, with the software of the file's header or the live R. lmerTest and Lmer run one
# optimizer on one deviance function and arrive at one theta, so what follows from theta agrees to rounding.
ESTIMATES = 1e-6  # estimates (on the scale of their errors), SE, t, vcov, logLik, AIC, BIC, sigma, limits by Wald
RANDOM = 1e-6  # variances, sd, correlations, BLUPs, coefficients of groups
FITS = 1e-6  # fits, residuals, predictions
PROFILE = 1e-5  # roots of splines; R differs from itself by 2e-7
THETA = 1e-8  # R differs from itself by 1e-10: its sums depend on where in memory a matrix happens to lie
DF = 1e-4  # second derivatives by differences, on R's side numDeriv's
P_ABSOLUTE = 1e-6
P_OWN = 1e-10  # against R's pt() at our own t and df
OTHER_VERSIONS = 1e-4  # of everything, where the header names other software than that at hand
STEP = 1e-4  # of lme4's gradient, a difference quotient: the rounding of the deviance is divided by it
COUNTED = 1e-3  # numbers in the wording of a warning, such as a gradient's size or an eigenvalue

# Here the optimizer stops far from any optimum, with a slope's sd of exactly 0 and two negative curvatures. The
# df of lmerTest are then what the steps of numDeriv make of it: up to 5 times as large with r = 6 in the place of
# its 4, up to 150 times with eps = 1e-5 in the place of 1e-4. In the other cases such changes move them by 5e-5 at
# most, and by 2e-3 in the overfitted one.
NO_DF = {"huge_predictor"}


@dataclass(frozen=True)
class Case:
    """One row of the case file; all fields are text, empty for none."""

    id: str
    data: str
    formula: str
    REML: str
    weights: str
    offset: str
    missing: str
    control: str
    added: str
    profile: str
    moved: str
    unseen: str


def read_cases() -> dict[str, Case]:
    with (REFERENCE / "linear_cases.csv").open(newline="") as file:
        return {row["id"]: Case(**row) for row in csv.DictReader(file)}


CASES = read_cases()
every = pytest.mark.parametrize("case", CASES)


def pieces(text: str) -> list[str]:
    return text.split(";") if text else []


@cache
def sampled(name: str) -> pd.DataFrame:
    data = load_dataset(name)
    return data if len(data) <= 5000 else data.iloc[np.arange(5000) * (len(data) // 5000)].reset_index(drop=True)


def full_data(case: Case) -> pd.DataFrame:
    data = sampled(case.data).copy()
    for name in pieces(case.added):
        data[name] = added_column(name, data)
    return data


def added_column(name: str, data: pd.DataFrame) -> np.ndarray | pd.Series:
    i = np.arange(1, len(data) + 1)
    rules = {
        "weight": lambda: 1 + (i % 5) / 4,
        "shift": lambda: ((7 * i) % 11) / 4,
        "wave": lambda: ((37 * i) % 101) / 64,
        "tide": lambda: ((53 * i) % 89) / 32,
        "nights awake": lambda: data["Days"] + 1,
        "huge": lambda: data["Days"] * 1e6,
        "tiny": lambda: data["Reaction"] * 1e-6,
        "steep": lambda: 30 * data["Days"] + (data["Subject"].cat.codes + 1) % 5 + ((13 * i) % 17) / 4,
    }
    return rules[name]()


def case_data(case: Case) -> pd.DataFrame:
    data = full_data(case)
    i = np.arange(1, len(data) + 1)
    for rule in pieces(case.missing):
        name, divisor, rest = rule.split(":")
        data[name] = data[name].mask(i % int(divisor) == int(rest))
    return data


def new_data(case: Case) -> pd.DataFrame:
    data = full_data(case)
    rows = data.iloc[np.arange(8) * (len(data) // 8)].copy()
    for name in pieces(case.moved):
        rows[name] = rows[name] + 2.5
    return rows


def unseen_data(case: Case) -> pd.DataFrame:
    rows = new_data(case)
    labels = rows[case.unseen].astype(str).to_numpy(dtype=object)
    labels[:4] = "unseen"
    return rows.assign(**{case.unseen: labels})


def make(case: Case, **changes) -> Lmer:
    given = {"weights": case.weights or None, "offset": case.offset or None} | changes
    return Lmer(case.formula, case_data(case), **given)


@cache
def fitted(case: str) -> Lmer:
    """Return a case fitted once for the whole file; tests only read it."""
    spec = CASES[case]
    model = make(spec)
    model.fit(REML=spec.REML == "TRUE", control=spec.control, summarize=False, no_warnings=True)
    return model


@cache
def profile_limits(case: str) -> pd.DataFrame:
    return fitted(case).confint("profile")


class Reference:
    """A file of `linear.R`: its header, and its tables by case and name."""

    def __init__(self, path: Path):
        lines = path.read_text().splitlines(keepends=True)
        n_header = next(i for i, line in enumerate(lines) if not line.startswith("#"))
        self.header = [line.strip("# \n") for line in lines[:n_header]]
        self.strict = True
        self.frozen = False
        self.far = False
        self._tables: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
        for case, table, *cell in csv.reader(lines[n_header + 1 :]):
            self._tables.setdefault((case, table), []).append(tuple(cell))

    def hold_against(self, software: str) -> None:
        """Note whether the software at hand, as a header names it, is that of the file, or at least near it."""
        at_hand = software.replace("# ", "").splitlines()
        self.frozen, self.strict = True, self.header == at_hand
        self.far = _lme4(self.header) != _lme4(at_hand)

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self._tables

    def text(self, case: str, table: str) -> pd.DataFrame:
        cells = self._tables[case, table]
        columns = list(dict.fromkeys(column for _, column, _ in cells))
        rows = [row for row, column, _ in cells if column == columns[0]]
        values = np.array([value for *_, value in cells], dtype=object).reshape(len(columns), -1).T
        return pd.DataFrame(values, index=rows, columns=columns)

    def numbers(self, case: str, table: str) -> pd.DataFrame:
        return self.text(case, table).replace("NA", "nan").astype(float)

    def strings(self, case: str, table: str) -> list[str]:
        return [value for *_, value in self._tables.get((case, table), [])]

    def doubtful(self, case: str) -> bool:
        """Return whether R found fault with the fit: it stopped early, or at a doubtful place, or is singular."""
        return self.text(case, "codes")["1"]["optimizer"] != "0" or (case, "checks") in self

    def tables(self, case: str, prefix: str) -> dict[str, pd.DataFrame]:
        """Return the tables called by a prefix and a group's name, by that name."""
        names = [name for key, name in self._tables if key == case and name.startswith(f"{prefix} ")]
        return {name.partition(" ")[2]: self.numbers(case, name) for name in names}

    def close(self, found, expected, rtol: float, scale=0.0) -> None:
        """Compare to `rtol` of each number and of `scale`; told rather than refused up to 1e-4 for other software."""
        found, expected = np.asarray(found, dtype=float), np.asarray(expected, dtype=float)
        assert found.shape == expected.shape
        bound = np.abs(expected) + scale
        if not self.strict:
            with np.errstate(invalid="ignore", divide="ignore"):
                apart = np.nanmax(np.abs(found - expected) / bound, initial=0.0)
            if apart > rtol:
                warnings.warn(f"{apart:.1e} from the frozen numbers, made by {', '.join(self.header)}", stacklevel=2)
            rtol = max(rtol, OTHER_VERSIONS)
        agree = (np.abs(found - expected) <= rtol * bound) | (np.isnan(found) & np.isnan(expected))
        assert agree.all(), pd.DataFrame({"found": found[~agree], "expected": expected[~agree]}).to_string()


def _lme4(header: list[str]) -> str:
    """Return the first number of lme4's version: 2 computes generalized models in another way than 1."""
    (version,) = (line.split()[1] for line in header if line.startswith("lme4 "))
    return version.partition(".")[0]


@pytest.fixture(scope="module")
def live_run(tmp_path_factory):
    """Let the R at hand fit all cases, in a process of its own while the frozen numbers are compared."""
    folder = tmp_path_factory.mktemp("live")
    with (folder / "errors.txt").open("w") as errors:
        process = subprocess.Popen(r_command("linear.R", folder), cwd=ROOT, stderr=errors)
        yield folder, process
        process.kill()
        process.wait()


@pytest.fixture(scope="module", params=["frozen", "live"])
def source(request, live_run) -> Reference:
    """What the R that wrote the files in the repository said; then, for all tests again, what the R at hand says."""
    if request.param == "frozen":
        frozen = Reference(REFERENCE / "linear.csv")
        frozen.hold_against(rscript("lib/header.R"))
        return frozen
    return request.getfixturevalue("at_hand")


@pytest.fixture(scope="module")
def at_hand(live_run) -> Reference:
    """What the R at hand says."""
    folder, process = live_run
    process.wait()
    assert process.returncode == 0, (folder / "errors.txt").read_text()
    return Reference(folder / "linear.csv")


@pytest.fixture
def reference(source, case, request) -> Reference:
    """Where the optimizer stopped in doubt, other software stops elsewhere: then only the R at hand can tell."""
    other = not source.strict and source.doubtful(case)
    return request.getfixturevalue("at_hand") if other else source


@pytest.fixture
def spoken(source, request) -> Reference:
    """What R says in words, and when it takes gradients, changes with its version: only the R at hand can tell."""
    return source if source.strict else request.getfixturevalue("at_hand")


def r_command(name: str, *arguments: object) -> list[str]:
    return ["Rscript", "--vanilla", str(REFERENCE.relative_to(ROOT) / name), *map(str, arguments)]


def rscript(name: str, *arguments: object, given: str | None = None) -> str:
    done = subprocess.run(
        r_command(name, *arguments), cwd=ROOT, input=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def sums(values: np.ndarray) -> np.ndarray:
    """Return the sums and the sums of squares of columns, with which `linear.R` ends a long table."""
    return np.vstack([values.sum(axis=0), (values**2).sum(axis=0)])


def close_long(reference: Reference, found, expected: pd.DataFrame, rtol: float) -> None:
    """Compare a table of which R wrote the first rows and two sums, each on the scale of its column."""
    found = np.asarray(found, dtype=float).reshape(len(found), -1)
    kept = len(expected) - 2
    size = np.abs(found)
    scale = np.vstack([np.tile(size.max(axis=0), (kept, 1)), sums(size)])
    reference.close(np.vstack([found[:kept], sums(found)]), expected, rtol, scale)


def by_group(model: Lmer, value) -> dict[str, pd.DataFrame]:
    return dict(zip(model.grps, value if isinstance(value, list) else [value], strict=True))


def used_rows(model: Lmer) -> np.ndarray:
    return np.flatnonzero(~np.isnan(model.fits))


def slot(model: Lmer, *names: str) -> list:
    """Return a slot of the live R model, or an element of one by its names, as plain values; empty for R's NULL."""
    value = model.model_obj.do_slot(names[0])
    for name in names[1:]:
        known = list(value.do_slot("names")) if value.typeof == rinterface.RTYPES.VECSXP and len(value) else []
        value = value[known.index(name)] if name in known else rinterface.NULL
    return [] if value.typeof == rinterface.RTYPES.NILSXP else list(value)


def wording(texts: list[str]) -> tuple[list[str], list[float]]:
    """Return texts without their numbers, and the numbers."""
    number = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]\d+)?")
    return [number.sub("#", text) for text in texts], [float(n) for text in texts for n in number.findall(text)]


def same_wording(found: list[str], expected: list[str]) -> None:
    (found, counted), (expected, stated) = wording(sorted(found)), wording(sorted(expected))
    assert found == expected
    np.testing.assert_allclose(counted, stated, rtol=COUNTED)


@every
def test_coefficients(case, reference):
    found, expected = fitted(case).coefs, reference.numbers(case, "coefs")
    assert list(found.index) == list(expected.index)
    reference.close(found["Estimate"], expected["Estimate"], ESTIMATES, scale=expected["Std. Error"])
    reference.close(found["SE"], expected["Std. Error"], ESTIMATES)
    reference.close(found["T-stat"], expected["t value"], ESTIMATES, scale=1)


@pytest.mark.parametrize("case", [case for case in CASES if case not in NO_DF])
def test_df_and_p(case, reference):
    found, expected = fitted(case).coefs, reference.numbers(case, "coefs")
    reference.close(found["DF"], expected["df"], DF)
    reference.close(found["P-val"], expected["Pr(>|t|)"], P_ABSOLUTE, scale=1 - expected["Pr(>|t|)"])


@every
def test_covariance(case, reference):
    found, expected = np.asarray(fitted(case)._fit.vcov), reference.numbers(case, "vcov")
    kept = len(expected) - 2
    se = np.sqrt(np.diag(found))
    scale = np.vstack([np.outer(se, se)[:kept], sums(np.abs(found))])
    reference.close(np.vstack([found[:kept], sums(found)]), expected, ESTIMATES, scale)


@every
def test_wald_limits(case, reference):
    model, expected = fitted(case), reference.numbers(case, "wald")
    found, se = model.confint(), model.coefs["SE"].to_numpy()[:, None]
    assert list(found.index) == list(expected.index)
    assert list(found.columns) == list(expected.columns)
    n = len(found) - len(se)
    assert found[:n].isna().all(axis=None)
    assert expected[:n].isna().all(axis=None)
    reference.close(found[n:], expected[n:], ESTIMATES, se)
    reference.close(model.coefs[["2.5_ci", "97.5_ci"]], expected[n:], ESTIMATES, se)


@pytest.mark.parametrize("case", [id for id, case in CASES.items() if case.profile])
def test_profile_limits(case, reference):
    found, expected = profile_limits(case), reference.numbers(case, "profile")
    assert list(found.index) == list(expected.index)
    reference.close(found, expected, PROFILE, scale=1)


@every
def test_likelihood(case, reference):
    model, expected = fitted(case), reference.numbers(case, "facts")["1"]
    reference.close([model.logLike, model.AIC, model.BIC], expected[["logLik", "AIC", "BIC"]], ESTIMATES)
    facts = model._fit
    reference.close([facts.sigma, facts.criterion], expected[["sigma", "criterion"]], ESTIMATES)
    assert len(used_rows(model)) == facts.n_used == expected["nobs"]
    assert facts.n_parameters == expected["npar"]


@every
def test_variances(case, reference):
    model, told = fitted(case), reference.text(case, "variances")
    values = told[["var", "sd"]].replace("NA", "nan").astype(float).to_numpy()
    is_correlation = (told["second"] != "NA").to_numpy()
    found, expected = model.ranef_var, told[~is_correlation]
    assert list(found.index) == list(expected["group"])
    assert list(found["Name"]) == list(expected["first"].replace("NA", ""))
    reference.close(found[["Var", "Std"]], values[~is_correlation], RANDOM)
    found, expected = model.ranef_corr, told[is_correlation]
    if not is_correlation.any():
        assert found is None
        return
    assert list(found.index) == list(expected["group"])
    assert found[["IV1", "IV2"]].to_numpy().tolist() == expected[["first", "second"]].to_numpy().tolist()
    reference.close(found["Corr"], values[is_correlation, 1], RANDOM, scale=1)


@every
def test_group_effects(case, reference):
    model = fitted(case)
    assert model.grps == {name: int(n) for name, n in reference.numbers(case, "groups")["1"].items()}
    for prefix, value in {"ranef": model.ranef, "coef": model.fixef}.items():
        found, expected = by_group(model, value), reference.tables(case, prefix)
        assert list(found) == list(expected)
        for group, frame in found.items():
            kept = len(expected[group]) - 2
            assert list(frame.columns) == list(expected[group].columns)
            assert list(frame.index[:kept]) == list(expected[group].index[:kept])
            close_long(reference, frame, expected[group], RANDOM)


@every
@pytest.mark.parametrize("quantity", ["fitted", "residuals"])
def test_fits(case, quantity, reference):
    model, expected = fitted(case), reference.numbers(case, quantity)
    values = model.fits if quantity == "fitted" else model.residuals
    rows = used_rows(model)
    assert [str(row + 1) for row in rows[: len(expected) - 2]] == list(expected.index[:-2])
    close_long(reference, values[rows], expected, FITS)


@pytest.mark.parametrize("case", [id for id, case in CASES.items() if case.unseen])
def test_predictions(case, reference):
    model, expected = fitted(case), reference.numbers(case, "predictions")
    new = new_data(CASES[case])
    found = {
        "population": model.predict(new),
        "group": model.predict(new, use_rfx=True),
        "unseen": model.predict(unseen_data(CASES[case]), use_rfx=True, new_levels="population"),
    }
    for column, values in found.items():
        reference.close(values, expected[column], FITS)


@every
def test_warnings(case, spoken):
    """Compare with R's warnings and messages, each once; the note on aliased terms is ours."""
    found = [text for text in fitted(case).warnings if not text.startswith("Left out")]
    if case in NO_DF:
        found.remove(next(text for text in found if "converge with 2 negative eigenvalues" in text))
    same_wording(found, list(dict.fromkeys(spoken.strings(case, "warnings") + spoken.strings(case, "messages"))))


@every
def test_convergence(case, spoken):
    """Compare the record, and what the stored model says of itself."""
    model = fitted(case)
    record, checks = model.convergence, spoken.strings(case, "checks")
    codes, facts = spoken.text(case, "codes")["1"], spoken.numbers(case, "facts")["1"]
    same_wording(list(record.messages), checks + spoken.strings(case, "optimizer_warnings"))
    same_wording(slot(model, "optinfo", "conv", "lme4", "messages"), checks)
    assert [str(code) for code in slot(model, "optinfo", "conv", "lme4", "code")] == list(codes[1:])
    assert str(record.code) == codes["optimizer"]
    assert [record.optimizer] == (spoken.strings(case, "optimizer") or ["none"])
    assert record.singular == bool(facts["singular"])
    assert (len(record.singular_terms) > 0) == record.singular
    gradient = spoken.numbers(case, "gradient") if (case, "gradient") in spoken else None
    if gradient is None:
        assert np.isnan(record.max_gradient)
        return
    rounding = 16 * np.finfo(float).eps * abs(facts["criterion"]) / STEP
    spoken.close(record.max_gradient, np.abs(gradient["1"]).max(), ESTIMATES, scale=rounding / ESTIMATES)


@every
def test_theta(case, reference):
    reference.close(slot(fitted(case), "theta"), reference.numbers(case, "theta")["1"], THETA, scale=1)


def test_p_is_of_the_far_tail():
    """Compare p with R's own pt(), of every coefficient of every case, where it is 0 and just above."""
    table = pd.concat([fitted(case).coefs for case in CASES])
    lines = "".join(f"{t!r} {df!r}\n" for t, df in zip(table["T-stat"].tolist(), table["DF"].tolist(), strict=True))
    expected = [float(p) for p in rscript("lib/pt.R", given=lines).split()]
    np.testing.assert_allclose(table["P-val"], expected, rtol=P_OWN, atol=0)
    assert 1e-301 < fitted("steep").coefs["P-val"].min() < 1e-298


def test_old_optimizer_is_bobyqa():
    model = make(CASES["bobyqa"])
    model.fit(old_optimizer=True, summarize=False)
    pd.testing.assert_frame_equal(model.coefs, fitted("bobyqa").coefs)
    assert model.convergence == fitted("bobyqa").convergence


@pytest.mark.parametrize(
    ("case", "control"),
    [
        ("stopped", {"optCtrl": {"maxeval": 5}}),
        ("stopped_bobyqa", {"optimizer": "bobyqa", "optCtrl": {"maxfun": 12}}),
        ("singular_ignored", {"check.conv.singular": "ignore"}),
        ("no_derivatives", {"calc.derivs": False}),
        ("not_optimized", {"optimizer": None}),
        ("strict_gradient", {"check.conv.grad": {"action": "warning", "tol": 1e-9, "relTol": None}}),
    ],
)
def test_control_as_dict(case, control):
    model = make(CASES[case])
    model.fit(control=control, summarize=False, no_warnings=True)
    pd.testing.assert_frame_equal(model.coefs, fitted(case).coefs)
    assert repr(model.convergence) == repr(fitted(case).convergence)
    assert model.warnings == fitted(case).warnings


STORED = ["bobyqa", "weights_missing", "weights_missing@array", "interaction"]


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Reference:
    """What a fresh R finds in models that `Lmer` fitted and R's saveRDS wrote, and in plain fits of the same cases."""
    folder = tmp_path_factory.mktemp("stored")
    for name in STORED:
        case, _, how = name.partition("@")
        model = fitted(case)
        if how == "array":
            model = make(CASES[case], weights=case_data(CASES[case])[CASES[case].weights].to_numpy())
            model.fit(summarize=False)
        save(model, folder / f"{name}.rds")
    rscript("lib/stored.R", folder)
    return Reference(folder / "stored.csv")


def save(model: Lmer, path: Path, compress: bool = True) -> None:
    text = rinterface.StrSexpVector([str(path)])
    rinterface.baseenv["saveRDS"](model.model_obj, text, compress=rinterface.BoolSexpVector([compress]))


P_COLUMNS = ["Pr(>|t|)", "Pr(>F)", "Pr(>Chisq)"]


@pytest.mark.parametrize("case", STORED)
def test_stored_model_answers_as_a_plain_one(case, stored):
    """Compare anova, contests, ranova, update, refit, profile, emmeans and more."""
    assert stored.strings(case, "class") == ["lmerModLmerTest"]
    found, expected = stored.tables(case, "saved"), stored.tables(case, "plain")
    assert list(found) == list(expected)
    assert len(found) > 15
    for name, table in expected.items():
        assert list(found[name].index) == list(table.index), name
        assert list(found[name].columns) == list(table.columns), name
        for column in table:
            by_df = "df" in column.lower() or column in P_COLUMNS
            scale = 1 if column in P_COLUMNS else table[column].abs().max()
            stored.close(found[name][column], table[column], DF if by_df else ESTIMATES, scale)


@pytest.mark.parametrize("case", STORED)
def test_stored_model_holds_the_data_and_nothing_of_ours(case, stored):
    chain = stored.text(case, "chain")
    expected = {"data": "data.frame", "R_GlobalEnv": "environment"}
    expected |= {"control": "lmerControl"} if CASES[case.partition("@")[0]].control else {}
    assert dict(zip(chain["name"], chain["kind"], strict=True)) == expected


def test_stored_model_is_as_small_as_a_plain_one(stored):
    """Most of a saved model are lme4's own classes, 130 kB; what is ours to keep small is what comes on top."""
    for case in STORED:
        size = stored.numbers(case, "size")["1"]
        assert size["saved"] < size["plain"] + 2_000


def test_stored_model_is_free_of_our_code(tmp_path):
    save(fitted("slopes"), tmp_path / "model.rds", compress=False)
    written = (tmp_path / "model.rds").read_bytes()
    assert b"Reaction" in written
    for name in (b"run_verb", b"fit_mixed", b"theta_stencil", b"as_satterthwaite"):
        assert name not in written
