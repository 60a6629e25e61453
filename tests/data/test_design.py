"""Designs from patsy formulas: every construction of patsy's manual, at fit and at predict, and what frames hold."""

from __future__ import annotations

import copy
import pickle
import re
import warnings

import numpy as np
import pandas as pd
import patsy
import pytest
from patsy import ContrastMatrix
from samples import crossed, fit, inside, lost

from pymer4 import Lm, R2con
from pymer4.errors import DataError, ModelWarning

pytestmark = pytest.mark.numeric

SAME = 1e-12  # absolute, of design columns of order 1: the same operations in the same order
FITTED = 1e-9  # absolute, of fitted values of order 1

# What the manual's formulas take from the code around them.
l, contrast = ["a3", "a2", "a1"], [[1, 2], [3, 4], [5, 6]]  # noqa: E741
contrast_mat = ContrastMatrix(contrast, ["[pretty0]", "[pretty1]"])
df = 3
i, asdf = 2, patsy.center


def double(x):
    return 2 * x


class MyTreat:
    def __init__(self, reference=0):
        self.reference = reference

    def code_with_intercept(self, levels):
        return ContrastMatrix(np.eye(len(levels)), [f"[My.{level}]" for level in levels])

    def code_without_intercept(self, levels):
        eye = np.eye(len(levels) - 1)
        contrasts = np.vstack((eye[: self.reference, :], np.zeros((1, len(levels) - 1)), eye[self.reference :, :]))
        kept = levels[: self.reference] + levels[self.reference + 1 :]
        return ContrastMatrix(contrasts, [f"[MyT.{level}]" for level in kept])


class MyExampleCenter:
    def __init__(self):
        self._total = self._count = 0

    def memorize_chunk(self, x):
        self._total += np.sum(x)
        self._count += len(x)

    def memorize_finish(self):
        self._mean = self._total / self._count

    def transform(self, x):
        return x - self._mean


my_example_center = patsy.stateful_transform(MyExampleCenter)


MANUAL = {
    "Quickstart": """
        x1 + x2; x1 + x2 - 1; x1 + np.log(x2 + 10); center(x1) + standardize(x2); x1 + double(x1);
        Q('weird column!') + x1; double(Q('weird column!')) + x1; np.sqrt(Q("weight.in.kg")); I(x1 + x2);
        0 + a; a; 0 + a:b; a + b + a:b; a*b; C(c, Poly); a:x1; x1 + a:x1; C(a, Poly):center(x1); (x > 0.3);
        np.log(x) if i > 1 else np.log(1e5)
    """,
    "The formula language": """
        a + a:b + np.log(x); x + x + x; a / b; a / (b + c); (a + b)/c; (a + b):(c + d); a:a; (a:b):(a:c);
        (a + b + c + d) ** 3; a*b*c*d - a:b:c:d; (a + b + c + d) ** 2;
        np.log(x1 + x2) + (x + {6: x3, 8 + 1: x4}[3 * i]); x - 1; x + -1; -1 + x; 0 + x; x - (-0); 1 + x;
        (b - 1); 1 + (b - 1); b - 1; 1
    """,
    "Order and redundancy": """
        x1:x2 + a:b + b + x1:a:b + a + x2:a:x1; 1 + b + a:b; 1 + a:b; 1 + a + a:b + a:b:c; 1 + a:b:c;
        0 + a:x + a:b
    """,
    "Coding categorical data": """
        C(a, levels=l); C(a, Poly); C(a, contrast); C(a, [[1], [2], [4]]); C(a, contrast_mat);
        0 + C(a, MyTreat); C(a, MyTreat); C(a, MyTreat(2)); C(a, Treatment); 0 + C(a, Treatment);
        C(a, Treatment(1)); C(a, Treatment('a2')); C(a, Diff); 0 + C(a, Diff); 0 + C(a, Poly);
        C(a, Poly([1, 2, 10])); C(a, Sum); 0 + C(a, Sum); C(a, Sum(1)); C(a, Sum('a1')); C(a, Helmert);
        0 + C(a, Helmert); C(k); C(k, levels=[3, 1, 2]); C(k, Treatment(2)); C(C(a, Sum)); flag;
        flag:x + C(flag); 0 + flag
    """,
    "Stateful transforms": """
        center(x); standardize(x, ddof=1); standardize(x, center=False); scale(x); asdf(x);
        my_example_center(x); I(my_example_center(center(x1)) + center(x2)); center(np.log(x))
    """,
    "Splines": """
        bs(x, df=6, degree=3, include_intercept=True) - 1; bs(x, df=4); bs(x, 4); bs(x, 3, degree=0);
        bs(x, 3, degree=0, include_intercept=True) - 1; bs(x, 3, degree=1);
        bs(x, knots=[0.3, 0.6], lower_bound=-1, upper_bound=2); cr(x, df=6) - 1; cc(x, df=6) - 1;
        cr(x, df=4, constraints='center'); cc(x, df=4, constraints='center'); cr(x, knots=[0.2, 0.5]);
        te(cr(x1, df), cc(x2, df)) - 1; te(cr(x1, df=3), cr(x2, df=3), cc(x3, df=3), constraints='center');
        cr(x, 3):a; bs(center(x), 4)
    """,
}
FORMULAS = [text.strip() for chapter in MANUAL.values() for text in chapter.split(";")]


def names_of(X) -> list[str]:
    """Return patsy's names as its manual has them; with NumPy 2 it calls the level 2 `np.int64(2)`."""
    return [re.sub(r"np\.int64\((\w+)\)", r"\1", name) for name in X.design_info.column_names]


def patsy_frame(data: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return a frame as patsy alone takes it on every version of pandas."""
    return {
        name: np.asarray(data[name].astype(object) if data[name].dtype.kind not in "ifb" else data[name])
        for name in data
    }


@pytest.mark.parametrize("right", FORMULAS)
def test_every_formula_of_the_manual_is_fitted_and_predicted(right):
    data = crossed()
    new = inside(data)
    if right == "1":  # which patsy, asked alone, gives no rows
        names, X, expected = ["Intercept"], np.ones((len(data), 1)), np.ones((len(new), 1))
    else:
        _, X = patsy.dmatrices(f"y ~ {right}", patsy_frame(data))
        (expected,) = patsy.build_design_matrices([X.design_info], patsy_frame(new))
        names = names_of(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelWarning)  # tensor products may be aliased
        model = fit(Lm(f"y ~ {right}", data))
    learned = model._designed[1].matrices
    assert list(learned.names) == names
    np.testing.assert_allclose(learned.X, np.asarray(X), rtol=0, atol=SAME)
    np.testing.assert_allclose(model.predict(data), model.fits, rtol=0, atol=SAME)
    b = np.linalg.lstsq(np.asarray(X), data["y"].to_numpy(), rcond=None)[0]
    np.testing.assert_allclose(model.fits, np.asarray(X) @ b, rtol=0, atol=FITTED)
    found = model._designed[1].matrix(new.drop(columns="y"))
    np.testing.assert_allclose(found, np.asarray(expected), rtol=0, atol=SAME)
    kept = list(model.coefs.index)
    assert list(model.design_matrix.columns) == kept
    by_hand = found[:, [names.index(name) for name in kept]] @ model.coefs["Estimate"].to_numpy()
    np.testing.assert_allclose(model.predict(new), by_hand, rtol=0, atol=SAME)


@pytest.mark.parametrize(
    "right",
    ["center(x) + a", "bs(x, 4) + C(k)", "cr(x, 3, constraints='center')*b", "C(a, MyTreat(2))", "a + double(x)"],
)
def test_a_pickled_and_a_copied_design_learn_the_same(right):
    data = crossed()
    model, new = fit(Lm(f"y ~ {right}", data)), inside(data)
    assert model.warnings == []
    pickled = pickle.loads(pickle.dumps(model))
    for other in (pickled, copy.deepcopy(model), pickle.loads(pickle.dumps(pickled))):
        np.testing.assert_array_equal(other.predict(new), model.predict(new))
        pd.testing.assert_frame_equal(other.design_matrix, model.design_matrix)
        pd.testing.assert_frame_equal(fit(other).coefs, model.coefs)


def typed(kind: str, values) -> pd.Series:
    if kind == "dictionary":
        return pd.Series(values, dtype="category").astype("string[pyarrow]").astype("category")
    return pd.Series(values, dtype=None if kind == "default" else kind)


@pytest.mark.parametrize("kind", ["object", "string", "string[pyarrow]", "category", "dictionary", "default"])
@pytest.mark.parametrize(
    "right", ["g", "C(g)", "0 + g:x", "C(g, Sum)*x", "C(g, levels=['z', 'b', 'a'])", "g.isin(['a'])"]
)
def test_text_of_every_kind_is_the_same_category(kind, right):
    data = crossed()
    labels = np.array(["b", "a", "z"])[data.index % 3].tolist()
    plain = data.assign(g=pd.Series(labels, dtype=object))
    holes = data.assign(g=typed(kind, labels))
    holes.loc[[2, 9], "g"] = None
    model, fewer = fit(Lm(f"y ~ {right}", holes)), fit(Lm(f"y ~ {right}", plain.drop(index=[2, 9])))
    pd.testing.assert_frame_equal(model.coefs, fewer.coefs, rtol=1e-12)
    assert lost(model.fits) == lost(model.predict(holes)) == [2, 9]
    np.testing.assert_allclose(model.predict(holes)[3:9], model.fits[3:9], rtol=0, atol=SAME)


@pytest.mark.parametrize(
    "kind", ["float64", "float32", "Int64", "Float64", "int64[pyarrow]", "double[pyarrow]", "object", "uint8"]
)
@pytest.mark.parametrize("right", ["k", "C(k)", "k:x + np.log(k)", "center(k)", "I(k - 5)", "C(k, Treatment(2))"])
def test_numbers_of_every_kind_are_the_same_number(kind, right):
    data = crossed()
    retyped = data.assign(k=data["k"].astype(kind))
    plain, model = fit(Lm(f"y ~ {right}", data)), fit(Lm(f"y ~ {right}", retyped))
    pd.testing.assert_frame_equal(model.coefs, plain.coefs, rtol=1e-9)
    np.testing.assert_allclose(model.predict(data), plain.fits, rtol=0, atol=1e-9)
    np.testing.assert_allclose(plain.predict(retyped), plain.fits, rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", ["bool", "boolean", "bool[pyarrow]", "object"])
@pytest.mark.parametrize("right", ["flag", "0 + flag", "flag:x"])
def test_truth_values_are_categories(kind, right):
    data = crossed()
    holes = data.assign(flag=data["flag"].astype(kind))
    model = fit(Lm(f"y ~ {right}", holes))
    _, X = patsy.dmatrices(f"y ~ {right}", patsy_frame(data))
    assert list(model.coefs.index) == names_of(X)
    np.testing.assert_allclose(model.design_matrix, np.asarray(X), rtol=0, atol=0)
    if kind != "bool":
        holes.loc[4, "flag"] = None
        assert lost(fit(Lm(f"y ~ {right}", holes)).fits) == [4]


def test_a_categorical_keeps_its_order_and_an_ordered_one_is_polynomial():
    data = crossed()
    reordered = data.assign(a=pd.Categorical(data["a"], ["a3", "a1", "a2", "never"]))
    model = fit(Lm("y ~ a", reordered))
    assert list(model.coefs.index) == ["Intercept", "a[T.a1]", "a[T.a2]"] and model.warnings == []
    model = fit(Lm("y ~ a + C(a, Treatment):x", data.assign(a=pd.Categorical(data["a"], ordered=True))))
    assert list(model.coefs.index)[:3] == ["Intercept", "a.L", "a.Q"]
    np.testing.assert_allclose(model.design_matrix["a.L"].iloc[:3], np.array([-1, 0, 1]) / np.sqrt(2), atol=1e-15)
    np.testing.assert_allclose(model.predict(data), model.fits, rtol=0, atol=SAME)
    numbered = data.assign(k=pd.Categorical(data["k"], [3, 1, 2]))
    model = fit(Lm("y ~ C(k, Treatment(1))", numbered))
    assert list(model.coefs.index)[1:] == ["C(k, Treatment(1))[T.3]", "C(k, Treatment(1))[T.2]"]
    np.testing.assert_allclose(model.predict(data), model.fits, rtol=0, atol=SAME)


def test_dates_are_for_expressions_alone():
    data = crossed().assign(day=pd.date_range("2024-01-01", periods=72))
    data.loc[3, "day"] = pd.NaT
    model = fit(Lm("y ~ I((day - pd.Timestamp('2024-01-01')).dt.days)", data))
    assert lost(model.fits) == [3]
    np.testing.assert_allclose(model.predict(data)[4:], model.fits[4:], rtol=0, atol=SAME)
    with pytest.raises(DataError, match="Column 'day' holds datetime64"):
        Lm("y ~ day", data).fit(summarize=False)
    weekly = data.assign(week=data["day"].dt.to_period("M").dt.start_time)
    marked = fit(Lm("y ~ C(week)", weekly))
    assert len(marked.coefs) == weekly["week"].nunique()
    np.testing.assert_allclose(marked.predict(weekly)[4:], marked.fits[4:], rtol=0, atol=SAME)


def test_a_lag_looks_at_the_row_before_whether_it_is_complete_or_not():
    data = crossed()
    data.loc[10, "y"] = np.nan
    model = fit(Lm("y ~ x.shift(1)", data))
    by_hand = data.assign(before=data["x"].shift(1))
    plain = fit(Lm("y ~ before", by_hand))
    np.testing.assert_allclose(model.fits, plain.fits, rtol=0, atol=1e-12)
    assert lost(model.fits) == [0, 10]
    with pytest.warns(ModelWarning, match=r"x\.shift\(1\) has no value in row\(s\) 0 \(x = "):
        assert lost(model.predict(data)) == [0]


def picky(x):
    assert not np.isnan(np.asarray(x, dtype=float)).any()
    return np.asarray(x) ** 2


def test_expressions_that_take_no_missing_values_get_complete_rows():
    data = crossed()
    data.loc[[3, 8], "x"] = np.nan
    data.loc[5, "y"] = np.nan
    model = fit(Lm("y ~ picky(x)", data))
    assert lost(model.fits) == [3, 5, 8]
    assert lost(model.predict(data)) == [3, 8]


@pytest.mark.parametrize(
    "right, used",
    [
        ("center(x) + a", "y x a"),
        ("bs(x, 4)", "y x"),
        ("cr(x, 4, constraints='center') + C(k)", "y x k"),
        ("cc(x, 4) - 1", "y x"),
        ("te(cr(x1, 3), cr(x2, 3)) - 1", "y x1 x2"),
        ("standardize(x)*flag", "y x flag"),
    ],
)
def test_rows_with_missing_values_change_nothing(right, used):
    data = crossed()
    added = pd.concat([data, crossed(9, seed=5).assign(x=7.0, a="other")], ignore_index=True).astype({"flag": object})
    for at in range(72, 81):
        added.loc[at, used.split()[at % len(used.split())]] = None
    model = fit(Lm(f"y ~ {right}", added))
    pd.testing.assert_frame_equal(model.coefs, fit(Lm(f"y ~ {right}", data)).coefs, rtol=1e-9)
    assert lost(model.fits) == list(range(72, 81)) and len(model.fits) == 81


def test_the_index_and_the_frame_of_the_user_stay():
    data = crossed().set_index(pd.Index([f"row {k}" for k in range(72)], name="label"))
    before = data.copy()
    data.loc["row 4", "x"] = np.nan
    model = fit(Lm("y ~ x + a", data))
    assert list(model.design_matrix.index) == [label for label in data.index if label != "row 4"]
    assert list(model.design_matrix.columns) == list(model.coefs.index)
    pd.testing.assert_frame_equal(data.drop(index="row 4"), before.drop(index="row 4"))
    repeated = data.set_axis(np.repeat([1, 2], 36))
    model = fit(Lm("y ~ x + np.log(x1) + a", repeated))
    assert list(model.design_matrix.index) == [1] * 35 + [2] * 36


FACTORS = {
    "levels": ({"a": ["a2", "a1", "a3"]}, False, ["a[T.a1]", "a[T.a3]"]),
    "ordered": ({"a": ["a2", "a1", "a3"]}, True, ["a.L", "a.Q"]),
    "one contrast": ({"a": {"a1": 1, "a2": -0.5, "a3": -0.5}}, False, ["a1", "a2"]),
    "several": ({"a": {"a1": [1, 0], "a2": [-1, 1], "a3": [0, -1]}}, False, ["a1", "a2"]),
    "named": ({"a": {"first": {"a1": 1, "a2": -1, "a3": 0}}}, False, ["afirst", "a2"]),
    "numbers": ({"k": [2, 1.0, "3"]}, False, ["k[T.1]", "k[T.3]"]),
    "number contrast": ({"k": {1: 1, 2: -1, 3: 0}}, False, ["k1", "k2"]),
    "truth": ({"flag": [True, False]}, False, ["flag[T.False]"]),
}


@pytest.mark.parametrize("wrapped", ["{}", "C({})", "Q('{}')"])
@pytest.mark.parametrize("name", FACTORS)
def test_factors_are_coded_as_asked(name, wrapped):
    factors, ordered, expected = FACTORS[name]
    ((column, spec),) = factors.items()
    data, written = crossed(), wrapped.format(column)
    model = fit(Lm(f"y ~ {written}", data), factors=factors, ordered=ordered)
    assert list(model.coefs.index) == ["Intercept", *(written + text[len(column) :] for text in expected)]
    assert model.factors == factors
    written_levels = spec["first"] if name == "named" else spec
    levels = ["1" if isinstance(level, float) else str(level) for level in written_levels]
    means = data.groupby(data[column].astype(str))["y"].mean()[levels].to_numpy()
    np.testing.assert_allclose(model.coefs["Estimate"], R2con(model.contrast_codes[column]) @ means, rtol=0, atol=1e-10)
    np.testing.assert_allclose(model.predict(data), model.fits, rtol=0, atol=SAME)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(data), model.predict(data))


@pytest.mark.parametrize(
    ("right", "factors", "ordered", "names"),
    [
        ("0 + a", {"a": {"a1": 1, "a2": -1, "a3": 0}}, False, ["a[a1]", "a[a2]", "a[a3]"]),
        ("x:a", {"a": ["a3", "a1", "a2"]}, True, ["Intercept", "x:a[a3]", "x:a[a1]", "x:a[a2]"]),
        ("C(a, Sum)", {"a": ["a2", "a1", "a3"]}, False, ["Intercept", "C(a, Sum)[S.a2]", "C(a, Sum)[S.a1]"]),
    ],
    ids=["no intercept", "no margin", "a coding in the formula stands before that of factors"],
)
def test_where_the_coding_of_factors_does_not_enter(right, factors, ordered, names):
    model = fit(Lm(f"y ~ {right}", crossed()), factors=factors, ordered=ordered)
    assert list(model.coefs.index) == names


def test_a_factor_stays_a_number_inside_an_expression():
    model = Lm("y ~ k + np.log(k)", crossed())
    with pytest.warns(ModelWarning, match=r"Left out, since other terms add up to them: np.log\(k\)"):
        model.fit(factors={"k": [1, 2, 3]}, summarize=False)
    assert list(model.coefs.index) == ["Intercept", "k[T.2]", "k[T.3]"]
