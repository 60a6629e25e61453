"""Designs from patsy formulas: every construction of patsy's manual, at fit and at predict, and what frames hold."""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pandas as pd
import patsy
import pytest
from patsy import ContrastMatrix, EvalFactor, LookupFactor, ModelDesc, Term

from pymer4 import Lm
from pymer4.data.design import Design
from pymer4.data.terms import parse
from pymer4.errors import DataError, FormulaError, ModelWarning, OptionError

pytestmark = pytest.mark.numeric

SAME = 1e-12  # absolute, of design columns of order 1: the same operations in the same order
FITTED = 1e-9  # absolute, of fitted values of order 1

# --- what the manual's formulas take from the code around them ---

l = ["a3", "a2", "a1"]  # noqa: E741
contrast = [[1, 2], [3, 4], [5, 6]]
contrast_mat = ContrastMatrix(contrast, ["[pretty0]", "[pretty1]"])
df = 3
i = 2
asdf = patsy.center
funcs = {"center": patsy.center}


def double(x):
    return 2 * x


def naive_center(x):
    x = np.asarray(x)
    return x - np.mean(x)


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


def frame(n: int = 72, seed: int = 0) -> pd.DataFrame:
    """Return every kind of column that the manual has; categories are crossed."""
    rng = np.random.default_rng(seed)
    at = np.arange(n)
    data = {
        "a": [f"a{k + 1}" for k in at % 3],
        "b": [f"b{k + 1}" for k in at // 3 % 2],
        "c": [f"c{k + 1}" for k in at // 6 % 3],
        "d": [f"d{k + 1}" for k in at // 18 % 2],
        "k": at % 3 + 1,
        "flag": at // 2 % 2 == 0,
        "Intercept!": rng.normal(size=n),
        "weird column!": rng.normal(size=n),
        "weight.in.kg": rng.uniform(1, 2, n),
    }
    data |= {name: rng.uniform(0, 1, n) for name in ("x", "x1", "x2", "x3", "x4")}
    data["y"] = data["x"] + (np.array(data["a"]) == "a2") + rng.normal(size=n)
    return pd.DataFrame(data)


MANUAL = [
    # Quickstart
    "x1 + x2",
    "x1 + x2 - 1",
    "x1 + np.log(x2 + 10)",
    "center(x1) + standardize(x2)",
    "x1 + double(x1)",
    "Q('weird column!') + x1",
    "double(Q('weird column!')) + x1",
    'np.sqrt(Q("weight.in.kg"))',
    "I(x1 + x2)",
    "0 + a",
    "a",
    "0 + a:b",
    "a + b + a:b",
    "a*b",
    "C(c, Poly)",
    "a:x1",
    "x1 + a:x1",
    "C(a, Poly):center(x1)",
    "(x > 0.3)",
    "np.log(x) if i > 1 else np.log(1e5)",
    # The formula language
    "a + a:b + np.log(x)",
    "x + x + x",
    "a / b",
    "a / (b + c)",
    "(a + b)/c",
    "(a + b):(c + d)",
    "a:a",
    "(a:b):(a:c)",
    "(a + b + c + d) ** 3",
    "a*b*c*d - a:b:c:d",
    "(a + b + c + d) ** 2",
    "np.log(x1 + x2) + (x + {6: x3, 8 + 1: x4}[3 * i])",
    "x - 1",
    "x + -1",
    "-1 + x",
    "0 + x",
    "x - (-0)",
    "1 + x",
    "(b - 1)",
    "1 + (b - 1)",
    "b - 1",
    "1",
    # Order and redundancy
    "x1:x2 + a:b + b + x1:a:b + a + x2:a:x1",
    "1 + b + a:b",
    "1 + a:b",
    "1 + a + a:b + a:b:c",
    "1 + a:b:c",
    "0 + a:x + a:b",
    # Coding categorical data
    "C(a, levels=l)",
    "C(a, Poly)",
    "C(a, contrast)",
    "C(a, [[1], [2], [4]])",
    "C(a, contrast_mat)",
    "0 + C(a, MyTreat)",
    "C(a, MyTreat)",
    "C(a, MyTreat(2))",
    "C(a, Treatment)",
    "0 + C(a, Treatment)",
    "C(a, Treatment(1))",
    "C(a, Treatment('a2'))",
    "C(a, Diff)",
    "0 + C(a, Diff)",
    "0 + C(a, Poly)",
    "C(a, Poly([1, 2, 10]))",
    "C(a, Sum)",
    "0 + C(a, Sum)",
    "C(a, Sum(1))",
    "C(a, Sum('a1'))",
    "C(a, Helmert)",
    "0 + C(a, Helmert)",
    "C(k)",
    "C(k, levels=[3, 1, 2])",
    "C(k, Treatment(2))",
    "C(C(a, Sum))",
    "flag",
    "flag:x + C(flag)",
    "0 + flag",
    # Stateful transforms
    "center(x)",
    "standardize(x, ddof=1)",
    "standardize(x, center=False)",
    "scale(x)",
    "asdf(x)",
    "my_example_center(x)",
    "I(my_example_center(center(x1)) + center(x2))",
    "center(np.log(x))",
    # Splines
    "bs(x, df=6, degree=3, include_intercept=True) - 1",
    "bs(x, df=4)",
    "bs(x, 4)",
    "bs(x, 3, degree=0)",
    "bs(x, 3, degree=0, include_intercept=True) - 1",
    "bs(x, 3, degree=1)",
    "bs(x, knots=[0.3, 0.6], lower_bound=-1, upper_bound=2)",
    "cr(x, df=6) - 1",
    "cc(x, df=6) - 1",
    "cr(x, df=4, constraints='center')",
    "cc(x, df=4, constraints='center')",
    "cr(x, knots=[0.2, 0.5])",
    "te(cr(x1, df), cc(x2, df)) - 1",
    "te(cr(x1, df=3), cr(x2, df=3), cc(x3, df=3), constraints='center')",
    "cr(x, 3):a",
    "bs(center(x), 4)",
]


def names_of(X) -> list[str]:
    """Return patsy's names as its manual has them; with NumPy 2 it calls the level 2 `np.int64(2)`."""
    return [re.sub(r"np\.int64\((\w+)\)", r"\1", name) for name in X.design_info.column_names]


def patsy_frame(data: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return a frame as patsy alone takes it on every version of pandas."""
    return {
        name: np.asarray(data[name].astype(object) if data[name].dtype.kind not in "ifb" else data[name])
        for name in data
    }


def inside(data: pd.DataFrame) -> pd.DataFrame:
    """Return new rows between the ends of the old ones, where B-splines are defined."""
    new = data.iloc[[40, 7, 23, 58, 11]].reset_index(drop=True)
    numbers = [name for name in new.columns if new[name].dtype.kind == "f"]
    return new.assign(**{name: 0.5 * (new[name] + data[name].mean()) for name in numbers})


def design(formula, data: pd.DataFrame, **asked) -> Design:
    terms, scope = parse(formula, data.columns, None)
    return Design(terms, data, scope, **asked)


@pytest.mark.parametrize("right", MANUAL)
def test_every_formula_of_the_manual_is_fitted_and_predicted(right):
    data = frame()
    new = inside(data)
    _, X = patsy.dmatrices(f"y ~ {right}", patsy_frame(data))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelWarning)  # tensor products may be aliased
        model = Lm(f"y ~ {right}", data)
        model.fit(summarize=False)
    learned = model._designed[1].matrices
    if right == "1":
        X = np.ones((len(data), 1))
        assert learned.names == ("Intercept",)
    else:
        assert list(learned.names) == names_of(X)
    np.testing.assert_allclose(learned.X, np.asarray(X), rtol=0, atol=SAME)
    np.testing.assert_allclose(model.predict(data), model.fits, rtol=0, atol=SAME)
    b = np.linalg.lstsq(np.asarray(X), data["y"].to_numpy(), rcond=None)[0]
    np.testing.assert_allclose(model.fits, np.asarray(X) @ b, rtol=0, atol=FITTED)
    if right == "1":
        expected = np.ones((len(new), 1))
    else:
        (expected,) = patsy.build_design_matrices([X.design_info], patsy_frame(new))
    found = model._designed[1].matrix(new.drop(columns="y"))
    np.testing.assert_allclose(found, np.asarray(expected), rtol=0, atol=SAME)
    kept = list(model.design_matrix.columns)
    assert list(model.coefs.index) == kept
    columns = [learned.names.index(name) for name in kept]
    np.testing.assert_allclose(
        model.predict(new), found[:, columns] @ model.coefs["Estimate"].to_numpy(), rtol=0, atol=SAME
    )


@pytest.mark.parametrize(
    "right",
    ["center(x) + a", "bs(x, 4) + C(k)", "cr(x, 3, constraints='center')*b", "C(a, MyTreat(2))", "a + double(x)"],
)
def test_a_pickled_and_a_copied_design_learn_the_same(right):
    data = frame()
    model = Lm(f"y ~ {right}", data)
    model.fit(summarize=False)
    new = inside(data)
    assert model.warnings == []
    for other in (
        pickle.loads(pickle.dumps(model)),
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(model)))),
    ):
        np.testing.assert_array_equal(other.predict(new), model.predict(new))
        pd.testing.assert_frame_equal(other.coefs, model.coefs)
        pd.testing.assert_frame_equal(other.design_matrix, model.design_matrix)
        other.fit(summarize=False)
        pd.testing.assert_frame_equal(other.coefs, model.coefs)


@pytest.mark.parametrize("right", ["patsy.center(x)", "funcs['center'](x)", "center(x)"])
def test_a_stateful_transform_is_one_by_whatever_name(right):
    """Where patsy, as its manual warns, would centre new data on themselves."""
    data = frame()
    model = Lm(f"y ~ {right}", data)
    model.fit(summarize=False)
    new = inside(data)
    expected = model.coefs["Estimate"].to_numpy() @ [np.ones(5), new["x"] - data["x"].mean()]
    np.testing.assert_allclose(model.predict(new), expected, rtol=0, atol=1e-12)


def test_a_function_of_the_users_own_that_looks_at_all_rows_is_known_for_those_of_the_fit():
    data = frame()
    model = Lm("y ~ naive_center(x)", data)
    model.fit(summarize=False)
    np.testing.assert_allclose(model.predict(data.iloc[[40, 3]]), model.fits[[40, 3]], rtol=0, atol=1e-12)
    with pytest.raises(FormulaError, match=r"naive_center\(x\) is computed from all rows of the data at once"):
        model.predict(inside(data))


# ------------------------------------------------------------------ formulas that are no text


def test_a_model_desc_takes_the_place_of_text():
    data = frame()
    lookup, transform = LookupFactor("a"), EvalFactor("np.log(x ** 2)")
    desc = ModelDesc([Term([LookupFactor("y")])], [Term([lookup]), Term([transform]), Term([lookup, transform])])
    model = Lm(desc, data)
    model.fit(summarize=False)
    assert list(model.coefs.index) == [
        "a[a1]",
        "a[a2]",
        "a[a3]",
        "np.log(x ** 2)",
        "a[T.a2]:np.log(x ** 2)",
        "a[T.a3]:np.log(x ** 2)",
    ]
    assert model.formula == "y ~ 0 + a + np.log(x ** 2) + a:np.log(x ** 2)"
    np.testing.assert_allclose(model.predict(data), model.fits, rtol=0, atol=SAME)
    other = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(other.predict(inside(data)), model.predict(inside(data)))


def test_predictors_are_added_to_a_formula_by_name():
    data = frame()
    desc = ModelDesc.from_formula("np.log(y + 10) ~ a*b + c:d")
    desc.rhs_termlist += [Term([LookupFactor(name)]) for name in ("weight.in.kg", "Intercept!")]
    model = Lm(desc, data)
    model.fit(summarize=False)
    assert list(model.coefs.index)[-2:] == ["weight.in.kg", "Intercept!"]
    np.testing.assert_allclose(pickle.loads(pickle.dumps(model)).predict(data), model.fits, rtol=0, atol=SAME)


def test_a_lookup_may_make_categories():
    data = frame()
    factor = LookupFactor("k", force_categorical=True, contrast=patsy.Sum, levels=(3, 1, 2))
    model = Lm(ModelDesc([Term([EvalFactor("y")])], [patsy.INTERCEPT, Term([factor])]), data)
    model.fit(summarize=False)
    assert list(model.coefs.index) == ["Intercept", "k[S.3]", "k[S.1]"]
    np.testing.assert_allclose(copy.deepcopy(model).predict(data), model.fits, rtol=0, atol=SAME)


class HalfOf:
    """A factor of the user's own, as the manual's factor protocol has it."""

    origin = None

    def __init__(self, column):
        self.column = column

    def __eq__(self, other):
        return isinstance(other, HalfOf) and self.column == other.column

    def __hash__(self):
        return hash(self.column)

    def name(self):
        return f"half {self.column}"

    def memorize_passes_needed(self, state, eval_env):
        state["scale"] = eval_env.namespace["i"]
        return 1

    def memorize_chunk(self, state, which_pass, data):
        state["least"] = np.min(data[self.column])

    def memorize_finish(self, state, which_pass):
        state["finished"] = True

    def eval(self, state, data):
        assert state["finished"]
        return (data[self.column] - state["least"]) / state["scale"]


class Alternative:
    def __patsy_get_model_desc__(self, eval_env):
        return ModelDesc([Term([HalfOf("y")])], [patsy.INTERCEPT, Term([HalfOf("x")])])


def test_factors_of_the_users_own_and_alternative_formulas():
    data = frame()
    desc = ModelDesc([Term([EvalFactor("y")])], [patsy.INTERCEPT, Term([HalfOf("x"), EvalFactor("a")])])
    model = Lm(desc, data)
    model.fit(summarize=False)
    half = (data["x"] - data["x"].min()) / 2
    by_hand = Lm("y ~ half:a", data.assign(half=half))
    by_hand.fit(summarize=False)
    np.testing.assert_allclose(model.coefs["Estimate"], by_hand.coefs["Estimate"], rtol=1e-10)
    np.testing.assert_allclose(model.predict(data.iloc[3:9]), model.fits[3:9], rtol=0, atol=SAME)
    holes = data.assign(x=data["x"].where(data.index != data["x"].idxmin()))
    model, dropped = Lm(desc, holes), Lm(desc, holes.dropna())
    for one in (model, dropped):
        one.fit(summarize=False)
    pd.testing.assert_frame_equal(model.coefs, dropped.coefs)
    assert np.isnan(model.predict(holes)).sum() == 1
    with pytest.raises(DataError, match="needs the column"):
        model.predict(data.drop(columns="x"))
    model = Lm(Alternative(), data)
    model.fit(summarize=False)
    assert list(model.coefs.index) == ["Intercept", "half x"]


# ------------------------------------------------------------------ the calling code


def test_arrays_of_the_calling_code_stand_for_columns():
    data = frame()
    new_x2 = data["x2"] * 100
    model = Lm("y ~ new_x2", data)
    model.fit(summarize=False)
    by_hand = Lm("y ~ x2", data)
    by_hand.fit(summarize=False)
    np.testing.assert_allclose(model.fits, by_hand.fits, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(model.predict(data), model.fits)
    np.testing.assert_array_equal(model.predict(data.head(3).assign(new_x2=new_x2)), model.fits[:3])
    with pytest.raises(DataError, match=r"'new_x2', an array of 72 values in your code.*3 rows"):
        model.predict(data.head(3))
    holes = data.assign(y=data["y"].where(data.index % 7 > 0))
    model = Lm("y ~ new_x2 + center(x1)", holes)
    model.fit(summarize=False)
    by_hand = Lm("y ~ x2 + center(x1)", holes)
    by_hand.fit(summarize=False)
    np.testing.assert_allclose(model.fits, by_hand.fits, rtol=0, atol=1e-12)
    x_list = list(data["x2"])
    model = Lm("y ~ x_list", holes)
    model.fit(summarize=False)
    assert np.isnan(model.fits).sum() == holes["y"].isna().sum()
    x_list[4] = None
    model = Lm("y ~ center(x_list)", data)
    model.fit(summarize=False)
    assert np.flatnonzero(np.isnan(model.fits)).tolist() == [4]
    assert new_x2 is not None


class Mine(Lm):
    def __init__(self, formula, data):
        inner_double = double
        super().__init__(formula, data)
        assert inner_double


def make_within(kind):
    """Return a model whose formula uses a function that only this function knows."""

    def local(x):
        return 3 * x

    data = frame()
    makers = {
        "call": lambda: Lm("y ~ local(x)", data) if local else None,
        "comprehension": lambda: [Lm("y ~ local(x)", part) for part in (data,)].pop(),
        "generator": lambda: next(Lm("y ~ local(x)", part) for part in (data,)),
        "lambda": lambda: (lambda part: Lm("y ~ local(x)", part))(data),
        "apply": lambda: data.groupby("d")[["y", "x"]].apply(lambda part: Lm("y ~ local(x)", part)).iloc[0],
        "subclass": lambda: Mine("y ~ local(x)", data),
    }
    assert local(1) == 3
    return makers[kind]()


@pytest.mark.parametrize("kind", ["call", "comprehension", "generator", "lambda", "apply", "subclass"])
def test_functions_are_found_where_the_model_is_made(kind):
    model = make_within(kind)
    model.fit(summarize=False)
    plain = Lm("y ~ x", model._frame)
    plain.fit(summarize=False)
    np.testing.assert_allclose(model.coefs["Estimate"].iloc[1] * 3, plain.coefs["Estimate"].iloc[1], rtol=1e-10)


def test_a_subclass_sees_its_own_names_after_its_callers():
    model = Mine("y ~ inner_double(x)", frame())
    model.fit(summarize=False)
    assert list(model.coefs.index) == ["Intercept", "inner_double(x)"]


def test_columns_and_variables_may_be_called_as_functions_of_patsy_are():
    data = frame().rename(columns={"x1": "center", "x2": "C"})
    Q = I = 3  # noqa: E741
    model = Lm("y ~ C(a) + center(x) + I(x ** 2) + Q('weird column!')", data)
    model.fit(summarize=False)
    assert list(model.coefs.index) == [
        "Intercept",
        "C(a)[T.a2]",
        "C(a)[T.a3]",
        "center(x)",
        "I(x ** 2)",
        "Q('weird column!')",
    ]
    model = Lm("y ~ C + center", data)
    model.fit(summarize=False)
    assert list(model.coefs.index) == ["Intercept", "C", "center"]
    assert Q == I


def test_a_name_in_q_may_come_from_the_calling_code():
    data = frame().assign(y=lambda d: d["y"].where(d.index > 0))
    data.loc[5, "weird column!"] = np.nan
    column = "weird column!"
    model = Lm("y ~ center(Q(column))", data)
    model.fit(summarize=False)
    by_hand = Lm("y ~ center(Q('weird column!'))", data)
    by_hand.fit(summarize=False)
    np.testing.assert_array_equal(model.fits, by_hand.fits)
    assert column and np.flatnonzero(np.isnan(model.fits)).tolist() == [0, 5]


def test_a_lambda_is_looked_up_again_after_a_pickle():
    data = frame()
    thrice = lambda x: 3 * x  # noqa: E731
    model = Lm("y ~ thrice(x)", data)
    model.fit(summarize=False)
    expected = model.predict(data)
    stored = pickle.dumps(model)
    del thrice
    lost = pickle.loads(stored)
    np.testing.assert_array_equal(lost.fits, expected)
    with pytest.raises(FormulaError, match=r"'thrice', which the saved model could not keep"):
        lost.predict(data)
    thrice = lambda x: 3 * x  # noqa: E731
    np.testing.assert_array_equal(lost.predict(data), expected)
    np.testing.assert_array_equal(copy.deepcopy(model).predict(data), expected)
    assert thrice(1) == 3


def test_a_model_opens_where_a_function_of_its_formula_is_gone(tmp_path):
    made = textwrap.dedent("""
        import pickle, sys
        import numpy as np, pandas as pd
        from pymer4 import Lm
        def half(x): return x / 2
        rng = np.random.default_rng(0)
        data = pd.DataFrame(rng.normal(size=(20, 2)), columns=["y", "x"])
        model = Lm("y ~ half(x) + np.abs(x)", data)
        model.fit(summarize=False)
        pickle.dump((model, data), open(sys.argv[1], "wb"))
    """)
    opened = textwrap.dedent("""
        import pickle, sys
        from pymer4.errors import FormulaError
        model, data = pickle.load(open(sys.argv[1], "rb"))
        print(model.coefs.shape)
        try:
            model.predict(data)
        except FormulaError as error:
            print(str(error).split(",")[0])
        def half(x): return x / 2
        print(abs(model.predict(data) - model.fits).max() < 1e-12, "rpy2" in sys.modules)
    """)
    path = str(tmp_path / "model")
    subprocess.run([sys.executable, "-c", made, path], check=True)
    done = subprocess.run([sys.executable, "-c", opened, path], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["(3, 8)", "The formula uses 'half'", "True False"]


def work(model: Lm, data: pd.DataFrame) -> tuple[np.ndarray, Lm]:
    model.fit(summarize=False)
    return model.predict(data), model


def test_models_travel_through_joblib():
    from joblib import Parallel, delayed

    data = frame()
    model = Lm("y ~ bs(x, 4)*a + np.log(x1)", data)
    model.fit(summarize=False)
    ((predicted, other),) = Parallel(n_jobs=2)(delayed(work)(m, data) for m in [model])
    np.testing.assert_allclose(predicted, model.predict(data), rtol=0, atol=1e-12)
    np.testing.assert_allclose(other.predict(data), model.predict(data), rtol=0, atol=1e-12)


# ------------------------------------------------------------------ columns of every kind


def typed(kind: str, values) -> pd.Series:
    values = list(values)
    kinds = {
        "object": lambda: pd.Series(values, dtype=object),
        "string": lambda: pd.Series(values, dtype="string"),
        "arrow text": lambda: pd.Series(values, dtype="string[pyarrow]"),
        "category": lambda: pd.Series(values, dtype="category"),
        "dictionary": lambda: pd.Series(values, dtype="category").astype("string[pyarrow]").astype("category"),
        "default": lambda: pd.Series(values),
    }
    return kinds[kind]()


@pytest.mark.parametrize("kind", ["object", "string", "arrow text", "category", "dictionary", "default"])
@pytest.mark.parametrize(
    "right", ["g", "C(g)", "0 + g:x", "C(g, Sum)*x", "C(g, levels=['z', 'b', 'a'])", "g.isin(['a'])"]
)
def test_text_of_every_kind_is_the_same_category(kind, right):
    data = frame()
    labels = np.array(["b", "a", "z"])[data.index % 3]
    plain = Lm(f"y ~ {right}", data.assign(g=pd.Series(labels, dtype=object)))
    plain.fit(summarize=False)
    holes = data.assign(g=typed(kind, labels))
    holes.loc[[2, 9], "g"] = None
    model = Lm(f"y ~ {right}", holes)
    model.fit(summarize=False)
    fewer = Lm(f"y ~ {right}", data.assign(g=pd.Series(labels, dtype=object)).drop(index=[2, 9]))
    fewer.fit(summarize=False)
    pd.testing.assert_frame_equal(model.coefs, fewer.coefs, rtol=1e-12)
    assert list(model.coefs.index) == list(plain.coefs.index)
    assert np.flatnonzero(np.isnan(model.fits)).tolist() == [2, 9]
    assert np.flatnonzero(np.isnan(model.predict(holes))).tolist() == [2, 9]
    np.testing.assert_allclose(model.predict(holes)[3:9], model.fits[3:9], rtol=0, atol=SAME)


@pytest.mark.parametrize(
    "kind", ["float64", "float32", "Int64", "Float64", "int64[pyarrow]", "double[pyarrow]", "object", "uint8"]
)
@pytest.mark.parametrize("right", ["k", "C(k)", "k:x + np.log(k)", "center(k)", "I(k - 5)", "C(k, Treatment(2))"])
def test_numbers_of_every_kind_are_the_same_number(kind, right):
    data = frame()
    plain = Lm(f"y ~ {right}", data)
    plain.fit(summarize=False)
    model = Lm(f"y ~ {right}", data.assign(k=data["k"].astype(kind)))
    model.fit(summarize=False)
    pd.testing.assert_frame_equal(model.coefs, plain.coefs, rtol=1e-9)
    np.testing.assert_allclose(model.predict(data), plain.fits, rtol=0, atol=1e-9)
    np.testing.assert_allclose(plain.predict(data.assign(k=data["k"].astype(kind))), plain.fits, rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", ["bool", "boolean", "bool[pyarrow]", "object"])
@pytest.mark.parametrize("right", ["flag", "0 + flag", "flag:x"])
def test_truth_values_are_categories(kind, right):
    data = frame()
    model = Lm(f"y ~ {right}", data.assign(flag=data["flag"].astype(kind)))
    model.fit(summarize=False)
    _, X = patsy.dmatrices(f"y ~ {right}", patsy_frame(data))
    assert list(model.coefs.index) == names_of(X)
    np.testing.assert_allclose(model.design_matrix, np.asarray(X), rtol=0, atol=0)
    if kind != "bool":
        holes = data.assign(flag=data["flag"].astype(kind))
        holes.loc[4, "flag"] = None
        model = Lm(f"y ~ {right}", holes)
        model.fit(summarize=False)
        assert np.flatnonzero(np.isnan(model.fits)).tolist() == [4]


def test_a_categorical_keeps_its_order_and_an_ordered_one_is_polynomial():
    data = frame()
    reordered = data.assign(a=pd.Categorical(data["a"], ["a3", "a1", "a2", "never"]))
    model = Lm("y ~ a", reordered)
    model.fit(summarize=False)
    assert list(model.coefs.index) == ["Intercept", "a[T.a1]", "a[T.a2]"] and model.warnings == []
    model = Lm("y ~ a + C(a, Treatment):x", data.assign(a=pd.Categorical(data["a"], ordered=True)))
    model.fit(summarize=False)
    assert list(model.coefs.index)[:3] == ["Intercept", "a.L", "a.Q"]
    np.testing.assert_allclose(model.design_matrix["a.L"].iloc[:3], np.array([-1, 0, 1]) / np.sqrt(2), atol=1e-15)
    np.testing.assert_allclose(model.predict(data), model.fits, rtol=0, atol=SAME)
    numbered = data.assign(k=pd.Categorical(data["k"], [3, 1, 2]))
    model = Lm("y ~ C(k, Treatment(1))", numbered)
    model.fit(summarize=False)
    assert list(model.coefs.index)[1:] == ["C(k, Treatment(1))[T.3]", "C(k, Treatment(1))[T.2]"]
    np.testing.assert_allclose(model.predict(data), model.fits, rtol=0, atol=SAME)


def test_dates_are_for_expressions_alone():
    data = frame().assign(day=pd.date_range("2024-01-01", periods=72))
    data.loc[3, "day"] = pd.NaT
    model = Lm("y ~ I((day - pd.Timestamp('2024-01-01')).dt.days)", data)
    model.fit(summarize=False)
    assert np.flatnonzero(np.isnan(model.fits)).tolist() == [3]
    np.testing.assert_allclose(model.predict(data)[4:], model.fits[4:], rtol=0, atol=SAME)
    with pytest.raises(DataError, match="Column 'day' holds datetime64"):
        Lm("y ~ day", data).fit(summarize=False)
    weekly = data.assign(week=data["day"].dt.to_period("M").dt.start_time)
    marked = Lm("y ~ C(week)", weekly)
    marked.fit(summarize=False)
    assert len(marked.coefs) == weekly["week"].nunique()
    np.testing.assert_allclose(marked.predict(weekly)[4:], marked.fits[4:], rtol=0, atol=SAME)


def test_a_lag_looks_at_the_row_before_whether_it_is_complete_or_not():
    data = frame()
    data.loc[10, "y"] = np.nan
    model = Lm("y ~ x.shift(1)", data)
    model.fit(summarize=False)
    by_hand = data.assign(before=data["x"].shift(1))
    plain = Lm("y ~ before", by_hand)
    plain.fit(summarize=False)
    np.testing.assert_allclose(model.fits, plain.fits, rtol=0, atol=1e-12)
    assert np.flatnonzero(np.isnan(model.fits)).tolist() == [0, 10]
    with pytest.warns(ModelWarning, match=r"x\.shift\(1\) has no value in row\(s\) 0 \(x = "):
        assert np.flatnonzero(np.isnan(model.predict(data))).tolist() == [0]


def picky(x):
    assert not np.isnan(np.asarray(x, dtype=float)).any()
    return np.asarray(x) ** 2


def test_expressions_that_take_no_missing_values_get_complete_rows():
    data = frame()
    data.loc[[3, 8], "x"] = np.nan
    data.loc[5, "y"] = np.nan
    model = Lm("y ~ picky(x)", data)
    model.fit(summarize=False)
    assert np.flatnonzero(np.isnan(model.fits)).tolist() == [3, 5, 8]
    assert np.flatnonzero(np.isnan(model.predict(data))).tolist() == [3, 8]


@pytest.mark.parametrize(
    "right",
    [
        "center(x) + a",
        "bs(x, 4)",
        "cr(x, 4, constraints='center') + C(k)",
        "cc(x, 4) - 1",
        "te(cr(x1, 3), cr(x2, 3)) - 1",
        "standardize(x)*flag",
    ],
)
def test_rows_with_missing_values_change_nothing(right):
    data = frame()
    plain = Lm(f"y ~ {right}", data)
    plain.fit(summarize=False)
    added = pd.concat([data, frame(9, seed=5).assign(x=7.0, a="other")], ignore_index=True).astype({"flag": object})
    used = [
        name for name in ("y", "x", "x1", "x2", "k", "flag", "a") if name == "y" or re.search(rf"\b{name}\b", right)
    ]
    for at in range(72, 81):
        added.loc[at, used[at % len(used)]] = None
    model = Lm(f"y ~ {right}", added)
    model.fit(summarize=False)
    pd.testing.assert_frame_equal(model.coefs, plain.coefs, rtol=1e-9)
    assert np.isnan(model.fits[72:]).all() and len(model.fits) == 81


def test_the_index_and_the_frame_of_the_user_stay():
    data = frame().set_index(pd.Index([f"row {k}" for k in range(72)], name="label"))
    before = data.copy()
    data.loc["row 4", "x"] = np.nan
    model = Lm("y ~ x + a", data)
    model.fit(summarize=False)
    assert list(model.design_matrix.index) == [label for label in data.index if label != "row 4"]
    assert list(model.design_matrix.columns) == list(model.coefs.index)
    pd.testing.assert_frame_equal(data.drop(index="row 4"), before.drop(index="row 4"))
    repeated = data.set_axis(np.repeat([1, 2], 36))
    model = Lm("y ~ x + np.log(x1) + a", repeated)
    model.fit(summarize=False)
    assert list(model.design_matrix.index) == [1] * 35 + [2] * 36


# ------------------------------------------------------------------ factors


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
    from pymer4 import R2con

    factors, ordered, expected = FACTORS[name]
    (column,) = factors
    data = frame()
    model = Lm(f"y ~ {wrapped.format(column)}", data)
    model.fit(factors=factors, ordered=ordered, summarize=False)
    written = wrapped.format(column)
    assert list(model.coefs.index) == ["Intercept", *(written + text[len(column) :] for text in expected)]
    matrix = model.contrast_codes[column]
    assert model.factors == factors
    spec = factors[column]
    levels = list(spec["first"] if name == "named" else spec)
    means = np.array(
        [
            data["y"][data[column].astype(str) == str(level if level != 1.0 or column == "flag" else 1)].mean()
            for level in levels
        ]
    )
    np.testing.assert_allclose(model.coefs["Estimate"], R2con(matrix) @ means, rtol=0, atol=1e-10)
    np.testing.assert_allclose(model.predict(data), model.fits, rtol=0, atol=SAME)
    other = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(other.predict(data), model.predict(data))


def test_factors_without_an_intercept_have_a_column_a_level():
    model = Lm("y ~ 0 + a", frame())
    model.fit(factors={"a": {"a1": 1, "a2": -1, "a3": 0}}, summarize=False)
    assert list(model.coefs.index) == ["a[a1]", "a[a2]", "a[a3]"]
    model = Lm("y ~ x:a", frame())
    model.fit(factors={"a": ["a3", "a1", "a2"]}, ordered=True, summarize=False)
    assert list(model.coefs.index) == ["Intercept", "x:a[a3]", "x:a[a1]", "x:a[a2]"]


def test_a_coding_in_the_formula_stands_before_that_of_factors():
    model = Lm("y ~ C(a, Sum)", frame())
    model.fit(factors={"a": ["a2", "a1", "a3"]}, summarize=False)
    assert list(model.coefs.index) == ["Intercept", "C(a, Sum)[S.a2]", "C(a, Sum)[S.a1]"]


def test_a_factor_stays_a_number_inside_an_expression():
    model = Lm("y ~ k + np.log(k)", frame())
    with pytest.warns(ModelWarning, match=r"Left out, since other terms add up to them: np.log\(k\)"):
        model.fit(factors={"k": [1, 2, 3]}, summarize=False)
    assert list(model.coefs.index) == ["Intercept", "k[T.2]", "k[T.3]"]


def test_one_design_serves_every_fit_that_it_fits():
    model = Lm("y ~ x + a", frame())
    model.fit(summarize=False)
    first = model._designed[1]
    model.fit(robust="hc3", weights=np.arange(1, 73), summarize=False)
    assert model._designed[1] is first
    model.fit(factors={"a": ["a2", "a1", "a3"]}, summarize=False)
    assert model._designed[1] is not first
    model.fit(rank=True, summarize=False)
    assert model.predict(model.data) == pytest.approx(model.fits, abs=1e-12)
    model.fit(summarize=False)
    other = Lm("y ~ x + a", frame())
    other.fit(summarize=False)
    pd.testing.assert_frame_equal(model.coefs, other.coefs)


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    "formula, told",
    [
        ("y ~ x + (x | a)", r"\(x \| a\) is a random effect(.|\n)*Use Lmer"),
        ("y ~ x + (1 || a)", r"is a random effect(.|\n)*Use Lmer"),
        ("~ x", "has no outcome"),
        ("x + a", r"has no outcome. Write it on the left: 'y ~ x \+ a'"),
        ("y ~ xx1", r"name 'xx1' is not defined\n +y ~ xx1\n +\^\^\^\n.*Did you mean 'x1'\?"),
        ("y ~ np.log(x", r"unclosed bracket(.|\n)*\^"),
        ("y ~ x x1", r"Python can't read 'x x1': invalid syntax"),
        ("y ~ weird column! + x", r"Q\('weird column!'\)"),
        ("y ~ `weird column!`", r"Q\('weird column!'\)"),
        ("y ~ Q('weird')", r"name 'weird' is not defined(.|\n)*neither a column"),
        ("y ~ log(x)", r"name 'log' is not defined(.|\n)*log is a function of R's formulas. Use np.log"),
        ("y ~ factor(a)", "Use C"),
        ("y ~ x + offset(x1)", "offset="),
        ("y ~ (a + b)^2", r"\(a \+ b\)\*\*2"),
        ("y ~ x ~ a", "~ can only be used once"),
        ("y ~ ", "the expression ended"),
        ("y ~ .", "There is no '.'"),
        ("y ~ a %in% b", "b:a"),
        ("y = x", "~"),
        ("y ~ k^2", r"\^ is Python's exclusive or, and no power(.|\n)*I\(x \*\* 2\)"),
        (3, "has to be text such as 'y ~ x', or a patsy.ModelDesc, not a int"),
        ((np.zeros(3), np.ones((3, 2))), "not a tuple"),
    ],
)
def test_formulas_are_refused_where_the_model_is_made(formula, told):
    with pytest.raises(FormulaError, match=told):
        Lm(formula, frame())


@pytest.mark.parametrize(
    "formula, kind, told",
    [
        ("y ~ x ** a", FormulaError, "'\\*\\*' requires a positive integer|Error|invalid"),
        ("y ~ np.log(a)", FormulaError, r"Error evaluating factor: (Type|Attribute)Error(.|\n)*np.log\(a\)"),
        ("y ~ np.ones(5)", FormulaError, "Number of rows mismatch"),
        ("y ~ 0", FormulaError, "neither predictors nor an intercept"),
        ("a ~ x", DataError, "The outcome 'a' is a factor; family 'gaussian' takes numbers"),
        ("y + x ~ x1", FormulaError, r"has 2 columns; a regression has one. Their sum is written I\(a \+ b\)"),
        ("y ~ np.log(zero)", DataError, r"'np.log\(zero\)' has 72 infinite value\(s\), in row\(s\) 0, 1"),
        ("y ~ one", DataError, "The predictor 'one' is a factor with one level, 'same', in the rows used"),
        ("y ~ void", DataError, r"Each of the 72 rows has a missing value.*void 72"),
        ("y ~ bs(x, 2)", FormulaError, "df=2 is too small"),
        ("y ~ x + Intercept", FormulaError, "Two columns of the design would have one name"),
    ],
)
def test_formulas_are_refused_when_they_are_fitted(formula, kind, told):
    data = frame().assign(zero=0.0, one="same", void=np.nan, Intercept=2.0)
    with np.errstate(divide="ignore"), pytest.raises(kind, match=told):
        Lm(formula, data).fit(summarize=False)


def test_new_data_are_refused_with_what_is_wrong_with_them():
    data = frame()
    model = Lm("y ~ x + b + C(k) + C(np.where(x > 0.5, 'high', d))", data)
    model.fit(summarize=False)
    with pytest.raises(DataError, match=r"predict\(\) needs the column\(s\) 'x', which the data do not have"):
        model.predict(data.drop(columns="x"))
    with pytest.raises(DataError, match=r"Column 'b' has the level\(s\) 'a7', 'a9', which the model was not fitted to"):
        model.predict(data.assign(b=["a7", "a9"] * 36))
    with pytest.raises(DataError, match=r"Column 'k' has the level\(s\) '8'"):
        model.predict(data.assign(k=8))
    with pytest.raises(DataError, match="Column 'x' holds text; the model was fitted to numbers there"):
        model.predict(data.assign(x="word"))
    with pytest.raises(FormulaError, match="observation with value 'd9' does not match any of the expected levels"):
        model.predict(data.assign(d="d9", x=0.1))
    with pytest.raises(DataError, match="takes a pandas DataFrame, not a dict"):
        model.predict({"x": [1]})
    late = data.head(4).assign(b=["b1", "a9", "b2", None], x=[np.nan, np.nan, 0.2, 0.3])
    assert np.isnan(model.predict(late)).tolist() == [True, True, False, True]
    assert model.predict(data.head(0)).shape == (0,)
    assert np.isnan(model.predict(data.head(2).assign(x=None))).all()


def test_what_a_function_of_the_user_has_not_made_yet_is_its_error_and_no_missing_value():
    def half(x):
        if np.max(x) > 5:
            raise NotImplementedError("large x are not done yet")
        return x / 2

    model = Lm("y ~ half(x)", frame())
    model.fit(summarize=False)
    with pytest.raises(FormulaError, match="NotImplementedError: large x are not done yet"):
        model.predict(frame().assign(x=9.0))


def test_a_spline_is_told_of_points_beyond_its_knots():
    data = frame()
    model = Lm("y ~ bs(x, 4)", data)
    model.fit(summarize=False)
    new = data.iloc[[40, 7, 23, 58, 11]].reset_index(drop=True).assign(z=1.0)
    new.loc[[1, 4], "x"] = [9.0, -9.0]
    new.loc[2, "x"] = np.nan
    with pytest.warns(ModelWarning) as told:
        found = model.predict(new)
    assert str(told[0].message) == (
        "bs(x, 4) has no value in row(s) 1 (x = 9.0), 4 (x = -9.0), counted from 0: these predict NaN. They lie beyond "
        "its outermost knots, which lower_bound= and upper_bound= of bs() widen."
    )
    assert len(told) == 1 and np.isnan(found).tolist() == [False, True, True, False, True]
    np.testing.assert_allclose(found[[0, 3]], model.fits[[40, 58]], rtol=1e-12)
    with pytest.warns(ModelWarning, match="and 67 more, counted from 0"):
        assert np.isnan(model.predict(data.assign(x=9.0))).all()
    with pytest.warns(ModelWarning, match=r"row\(s\) 0 \(x = 9\.0\)"):
        assert np.isnan(model.predict(data.head(1).assign(x=9.0), interval="confidence")).all(axis=None)
    wide = Lm("y ~ bs(x, 4, lower_bound=-10, upper_bound=10)", data)
    wide.fit(summarize=False)
    assert np.isfinite(wide.predict(data.assign(x=9.0))).all()
    natural = Lm("y ~ cr(x, 4)", data)
    with pytest.warns(ModelWarning, match="Left out"):
        natural.fit(summarize=False)
    assert np.isfinite(natural.predict(data.assign(x=9.0))).all()


def test_aliased_columns_are_left_out_and_predict_as_zero():
    data = frame().assign(twice=lambda d: 2 * d["x"] - 1)
    plain = Lm("y ~ x + x1", data)
    plain.fit(summarize=False)
    model = Lm("y ~ x + twice + x1", data)
    with pytest.warns(ModelWarning, match="Left out, since other terms add up to them: twice"):
        model.fit(summarize=False)
    assert model.warnings == ["Left out, since other terms add up to them: twice"]
    pd.testing.assert_frame_equal(model.coefs, plain.coefs, rtol=1e-9)
    np.testing.assert_allclose(model.predict(data.assign(twice=99.0)), plain.fits, rtol=0, atol=1e-10)
    assert list(model.design_matrix.columns) == ["Intercept", "x", "x1"]


def test_wrong_factors_are_told():
    model = Lm("y ~ x + a", frame())
    with pytest.raises(OptionError, match="factors names 'b', which the formula does not use"):
        model.fit(factors={"b": ["b1", "b2"]})
    with pytest.raises(OptionError, match="leaves out 'a3'"):
        model.fit(factors={"a": ["a1", "a2"]})
    with pytest.raises(OptionError, match="factors has to be a dict"):
        model.fit(factors=["a"])
    assert not model.fitted


def test_outcomes_may_be_computed_and_missing_at_predict():
    data = frame()
    model = Lm("np.log(y + 10) ~ x", data)
    model.fit(summarize=False)
    by_hand = Lm("z ~ x", data.assign(z=np.log(data["y"] + 10)))
    by_hand.fit(summarize=False)
    pd.testing.assert_frame_equal(model.coefs, by_hand.coefs)
    np.testing.assert_array_equal(model.predict(data[["x"]]), model.fits)
    assert design("I(y > 0) ~ x", data).matrices.levels == (False, True)
    truths = Lm("I(y > 0) ~ x", data)
    truths.fit(summarize=False)
    zeros = Lm("z ~ x", data.assign(z=(data["y"] > 0) * 1.0))
    zeros.fit(summarize=False)
    pd.testing.assert_frame_equal(truths.coefs, zeros.coefs)


def test_patsy_is_not_imported_before_a_model_is_made():
    told = "import sys; import pymer4; from pymer4 import Lm; print('patsy' in sys.modules, 'scipy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
