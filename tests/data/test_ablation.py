"""Formulas with a term less."""

from __future__ import annotations

import pytest

from pymer4 import resampling as rs
from pymer4.errors import FormulaError, OptionError


@pytest.mark.parametrize(
    ("terms", "gone", "wanted"),
    [
        (["x", "z", "x:z"], "x", "y ~ z"),
        (["x", "z", "x:z"], "x:z", "y ~ x + z"),
        (["x", "z", "x:z"], "z:x", "y ~ x + z"),
        (["x"], "x", "y ~ 1"),
        (["C(x)", "x:w", "log(w)"], "C(x)", "y ~ x:w + log(w)"),
        (["a*b"], "a:b", "y ~ a + b"),
        (["`my x`", "z", "z:`my x`"], "`my x`", "y ~ z"),
    ],
)
def test_a_formula_without_one_term(terms, gone, wanted):
    assert rs.build_ablated_formula("y", terms, gone) == wanted
    assert rs.build_ablated_formula("y", terms, gone, ("(1|g)", "(x || h)")) == f"{wanted} + (1|g) + (x || h)"


@pytest.mark.parametrize(
    ("formula", "predictor", "wanted"),
    [
        ("y ~ a + b + c", "b", "y ~ a + c"),
        ("y ~ factor(a) + b", "a", "y ~ b"),
        ("y ~ C(a, Sum) * b + c(a)", "a", "y ~ b"),
        ("y~a*b - 1", "b", "y ~ 0 + a"),
        ("y ~ a", "a", "y ~ 1"),
        ("y ~ a:b + a", "b:a", "y ~ a"),
        ("log(y) ~ np.log(a) + a.b + ab", "a", "log(y) ~ a.b + ab"),
        ("y ~ log(a) + a", "log(a)", "y ~ a"),
        ("y ~ (1 + a || g) + a + us(a | h)", "a", "y ~ 1 + (1 + a || g) + us(a | h)"),
        ("y ~ log(`my b`) * c + (`my b` | g)", "my b", "y ~ c + (`my b` | g)"),
        ("y ~ Q('my b') + I(a | c)", "my b", "y ~ I(a | c)"),
        ("y ~ C(a, levels=['(', '|']) + b", "a", "y ~ b"),
        ("y~x+z", "q", "y~x+z"),
    ],
)
def test_a_formula_without_a_predictor(formula, predictor, wanted):
    assert rs.remove_predictor_from_formula(formula, predictor) == wanted


@pytest.mark.parametrize(
    "text, value", [("3.14", 3.14), (" -1e3 ", -1000.0), ("hello", "hello"), ('"1"', "1"), ("'", "'")]
)
def test_values(text, value):
    assert rs.parse_value(text) == value and type(rs.parse_value(text)) is type(value)


REFUSED = [
    (lambda: rs.build_ablated_formula("y", ["days"], "day"), OptionError, "Did you mean 'days'"),
    (lambda: rs.build_ablated_formula("y", ["a"], "a*b"), FormulaError, "stands for 3 terms"),
    (lambda: rs.remove_predictor_from_formula("y ~ (a + b)^2", "a"), FormulaError, r"of terms \(a \+ b\)\*\*2"),
    (lambda: rs.remove_predictor_from_formula("y ~ (a", "a"), FormulaError, r"'y ~ \(a' can't be read"),
    (lambda: rs.parse_value(3), TypeError, "takes text, not 3"),
]


@pytest.mark.parametrize(("call", "kind", "text"), REFUSED)
def test_what_is_refused(call, kind, text):
    with pytest.raises(kind, match=text):
        call()
