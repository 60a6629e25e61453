"""What formulas of regressions may be, beside text, and what they take from the code where the model is made."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import patsy
import pytest
from patsy import EvalFactor, LookupFactor, ModelDesc, Term
from samples import crossed, fit, inside, lost

from pymer4 import Lm
from pymer4.errors import DataError, FormulaError

pytestmark = pytest.mark.numeric

SAME = 1e-12  # absolute, of columns of order 1: the same operations in the same order

i = 2


def double(x):
    return 2 * x


funcs = {"center": patsy.center}


@pytest.mark.parametrize("right", ["patsy.center(x)", "funcs['center'](x)", "center(x)"])
def test_a_stateful_transform_is_one_by_whatever_name(right):
    """Where patsy, as its manual warns, would centre new data on themselves."""
    data = crossed()
    model = fit(Lm(f"y ~ {right}", data))
    new = inside(data)
    expected = model.coefs["Estimate"].to_numpy() @ [np.ones(5), new["x"] - data["x"].mean()]
    np.testing.assert_allclose(model.predict(new), expected, rtol=0, atol=1e-12)


def described(*predictors) -> ModelDesc:
    return ModelDesc([Term([LookupFactor("y")])], [Term([*factors]) for factors in predictors])


class Alternative:
    def __patsy_get_model_desc__(self, eval_env):
        return described([EvalFactor("x")], [])


LOOKUP, TRANSFORM = LookupFactor("a"), EvalFactor("np.log(x ** 2)")
DESCRIBED = {
    "y ~ 0 + a + np.log(x ** 2) + a:np.log(x ** 2)": described([LOOKUP], [TRANSFORM], [LOOKUP, TRANSFORM]),
    "np.log(y + 10) ~ a + b + a:b + c:d": ModelDesc.from_formula("np.log(y + 10) ~ a*b + c:d"),
    "y ~ x": Alternative(),
}


@pytest.mark.parametrize("formula", DESCRIBED)
def test_a_model_desc_is_the_text_that_describes_it(formula):
    model, by_text = fit(Lm(DESCRIBED[formula], crossed())), fit(Lm(formula, crossed()))
    assert model.formula == formula
    pd.testing.assert_frame_equal(model.coefs, by_text.coefs)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(model.data), by_text.predict(model.data))


class Half:
    """A factor of the user's own, as the manual's factor protocol has it."""

    def name(self):
        return "half"

    def memorize_passes_needed(self, state, eval_env):
        return 0

    def eval(self, state, data):
        return data["x"] / 2


@pytest.mark.parametrize(
    "factor",
    [
        Half(),
        LookupFactor("weight.in.kg"),
        LookupFactor("weird column!"),
        LookupFactor("k", force_categorical=True, contrast=patsy.Sum, levels=(3, 1, 2)),
        EvalFactor("x + x1"),
    ],
    ids=["own", "dots", "odd", "coded", "sum"],
)
def test_a_model_desc_that_is_more_than_its_text_is_refused(factor):
    with pytest.raises(FormulaError, match=r"ModelDesc holds more than the text that describes it(.|\n)*as text"):
        Lm(described([], [factor]), crossed())


def test_arrays_of_the_calling_code_stand_for_columns():
    data = crossed()
    new_x2 = data["x2"] * 100
    model = fit(Lm("y ~ new_x2", data))
    by_hand = fit(Lm("y ~ x2", data))
    np.testing.assert_allclose(model.fits, by_hand.fits, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(model.predict(data), model.fits)
    np.testing.assert_array_equal(model.predict(data.head(3).assign(new_x2=new_x2)), model.fits[:3])
    with pytest.raises(DataError, match=r"'new_x2', an array of 72 values in your code.*3 rows"):
        model.predict(data.head(3))
    holes, x_list = data.assign(y=data["y"].where(data.index % 7 > 0)), list(data["x2"])
    by_hand = fit(Lm("y ~ x2 + center(x1)", holes))
    for right in ("new_x2 + center(x1)", "x_list + center(x1)"):
        np.testing.assert_allclose(fit(Lm(f"y ~ {right}", holes)).fits, by_hand.fits, rtol=0, atol=1e-12)
    x_list[4] = None
    assert lost(fit(Lm("y ~ center(x_list)", data)).fits) == [4]
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

    data = crossed()
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
    model = fit(make_within(kind))
    plain = fit(Lm("y ~ x", model._frame))
    np.testing.assert_allclose(model.coefs["Estimate"].iloc[1] * 3, plain.coefs["Estimate"].iloc[1], rtol=1e-10)


def test_a_subclass_sees_its_own_names_after_its_callers():
    model = fit(Mine("y ~ inner_double(x)", crossed()))
    assert list(model.coefs.index) == ["Intercept", "inner_double(x)"]


def test_columns_and_variables_may_be_called_as_functions_of_patsy_are():
    data = crossed().rename(columns={"x1": "center", "x2": "C"})
    Q = I = 3  # noqa: E741
    model = fit(Lm("y ~ C(a) + center(x) + I(x ** 2) + Q('weird column!')", data))
    assert list(model.coefs.index) == [
        "Intercept",
        "C(a)[T.a2]",
        "C(a)[T.a3]",
        "center(x)",
        "I(x ** 2)",
        "Q('weird column!')",
    ]
    model = fit(Lm("y ~ C + center", data))
    assert list(model.coefs.index) == ["Intercept", "C", "center"]
    assert Q == I


@pytest.mark.parametrize("code", ["column", "names[0]", "column.strip()"])
def test_a_name_in_q_may_come_from_the_calling_code(code):
    data = crossed().assign(y=lambda d: d["y"].where(d.index > 0))
    data.loc[5, "weird column!"] = np.nan
    column = "weird column!"
    names = [column]
    model = fit(Lm(f"y ~ center(Q({code}))", data))
    by_hand = fit(Lm("y ~ center(Q('weird column!'))", data))
    np.testing.assert_array_equal(model.fits, by_hand.fits)
    assert names and lost(model.fits) == [0, 5]


def test_a_lambda_is_looked_up_again_after_a_pickle():
    data = crossed()
    thrice = lambda x: 3 * x  # noqa: E731
    model = fit(Lm("y ~ thrice(x)", data))
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
