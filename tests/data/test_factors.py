"""Factors as users write them: levels and contrasts matched to the values of a column, each refusal in words."""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pymer4.data.columns import NA, normalise_column
from pymer4.data.contrasts import con2R, polynomial, treatment
from pymer4.data.factors import coding, present_levels, with_levels
from pymer4.errors import DataError, OptionError

pytestmark = pytest.mark.numeric

THIRD = 1 / 3


def column(values, **how):
    return normalise_column(pd.Series(values, **how), "g")


ABC = column(["B", "A", "C", None, "A", "B", "C"])
DOSE = column([0.5, 1.0, 2.0, np.nan, 0.5])


@pytest.mark.parametrize("ordered", [False, True])
def test_a_list_is_treatment_coding_against_its_first_level_or_polynomials(ordered):
    made = coding("g", ["C", "A", "B"], ABC, ordered=ordered)
    names = (".L", ".Q") if ordered else ("A", "B")
    assert (made.levels, made.names, made.ordered, made.requested) == (("C", "A", "B"), names, ordered, None)
    np.testing.assert_array_equal(made.matrix, polynomial(3) if ordered else treatment(3))
    assert with_levels(ABC, made.levels, made.ordered, "g").ordered == ordered


def test_polynomials_are_named_as_r_names_them():
    levels = list("ABCDEF")
    assert coding("g", levels, column(levels), ordered=True).names == (".L", ".Q", ".C", "^4", "^5")
    assert coding("g", ["A", "B"], column(["A", "B"]), ordered=True).names == (".L",)


@pytest.mark.parametrize("ordered", [False, True])
def test_one_contrast_has_the_rest_solved_for(ordered):
    made = coding("g", {"C": 1, "A": -0.5, "B": -0.5}, ABC, ordered=ordered)
    assert (made.levels, made.names, made.ordered) == (("C", "A", "B"), ("1", "2"), False)
    np.testing.assert_array_equal(made.requested, [[1, -0.5, -0.5]])
    np.testing.assert_array_equal(made.matrix, con2R([1, -0.5, -0.5]))


@pytest.mark.parametrize("vector", [list, tuple, np.array, pd.Series])
def test_several_contrasts_stand_in_columns_of_weights(vector):
    made = coding("g", {level: vector(w) for level, w in zip("ABC", [[1, 0], [-1, 0.5], [0, -0.5]], strict=True)}, ABC)
    assert (made.levels, made.names) == (("A", "B", "C"), ("1", "2"))
    np.testing.assert_array_equal(made.requested, [[1, -1, 0], [0, 0.5, -0.5]])
    np.testing.assert_array_equal(made.matrix, con2R([[1, -1, 0], [0, 0.5, -0.5]]))
    one = coding("g", {"A": vector([1]), "B": vector([-1]), "C": vector([0])}, ABC)
    np.testing.assert_array_equal(one.requested, [[1, -1, 0]])


def test_named_contrasts_keep_their_names_and_need_no_common_order():
    spec = {"first": {"B": -1, "A": 1, "C": 0}, "second": {"A": 0, "C": -THIRD, "B": Fraction(1, 3)}}
    made = coding("g", spec, ABC)
    assert (made.levels, made.names) == (("B", "A", "C"), ("first", "second"))
    np.testing.assert_allclose(made.requested, [[-1, 1, 0], [THIRD, 0, -THIRD]], rtol=1e-15)
    np.testing.assert_array_equal(made.matrix, con2R(made.requested))


@pytest.mark.parametrize(("name", "names"), [("lin", ("lin", "2")), ("2", ("2", "3")), (2, ("2", "3"))])
def test_contrasts_that_are_solved_for_are_called_by_their_position(name, names):
    assert coding("g", {name: {"A": -1, "B": 0, "C": 1}}, ABC).names == names


@pytest.mark.parametrize(
    "levels",
    [[2, 0.5, 1], [2.0, 0.5, 1.0], ["2", "0.5", "1"], np.array([2, 0.5, 1]), (2, 0.5, True),
     pd.Series([2, 0.5, 1]), pd.Index([2, 0.5, 1]), [np.int64(2), np.float32(0.5), Fraction(1)]],
)  # fmt: skip
def test_numbers_name_the_levels_of_numbers(levels):
    assert coding("dose", levels, DOSE).levels == ("2", "0.5", "1")


def test_numbers_that_are_written_as_text_keep_their_spelling():
    how = coding("dose", ["2.0", "0.50", "1e0"], DOSE)
    assert how.levels == ("2.0", "0.50", "1e0") and how.names == ("0.50", "1e0")
    assert with_levels(DOSE, how.levels, False, "dose").values.tolist() == [2, 3, 1, NA, 2]


@pytest.mark.parametrize("values", [[1, 2], [1.0, 2.0], ["1", "2"], pd.Categorical([1, 2]), pd.Categorical([1.0, 2.0])])
@pytest.mark.parametrize("written", [[1, 2], [1.0, 2.0], ["1", "2"]])
def test_one_and_one_point_zero_are_one_level(values, written):
    assert coding("g", written, column(values)).levels == ("1", "2")
    assert coding("g", dict(zip(written, [1, -1], strict=True)), column(values)).levels == ("1", "2")


def test_numbers_name_levels_that_are_text_with_another_spelling():
    assert coding("g", [1, 2], column(["1.0", "2.0"])).levels == ("1.0", "2.0")
    assert coding("g", [1.0, "1.0"], column(["1", "1.0"])).levels == ("1", "1.0")


@pytest.mark.parametrize("written", [[True, False], ["TRUE", "FALSE"], [1, 0], [np.True_, np.False_]])
def test_booleans_are_levels(written):
    made = coding("g", written, column([True, False, None], dtype="boolean"))
    assert (made.levels, made.names) == (("TRUE", "FALSE"), ("FALSE",))
    assert coding("g", [True, False], column([0, 1])).levels == ("1", "0")


def test_a_list_overrides_an_ordered_categorical():
    data = column(pd.Categorical(["a", "b"], categories=["b", "a"], ordered=True))
    made = coding("g", ["a", "b"], data)
    factor = with_levels(data, made.levels, made.ordered, "g")
    assert (factor.levels, factor.ordered, factor.values.tolist()) == (("a", "b"), False, [1, 2])


def test_levels_present_come_in_the_order_of_their_kind():
    unused = pd.Categorical(["z", "b", None], categories=["z", "unused", "b", "a"])
    assert present_levels(column(unused)) == ("z", "b")
    assert present_levels(column([10, 9, -1])) == ("-1", "9", "10")
    assert present_levels(column([True, False])) == ("FALSE", "TRUE")
    assert present_levels(column([np.nan, np.nan])) == ()


def labels(factor):
    return [None if code == NA else factor.levels[code - 1] for code in factor.values]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1), st.permutations(["a", "b", "c"]))
def test_recoding_keeps_each_rows_label(values, order):
    factor = with_levels(column(["a", "b", "c", *values]), tuple(order), False, "g")
    assert (factor.kind, factor.levels, factor.values.dtype) == ("factor", tuple(order), np.int32)
    assert labels(factor) == ["a", "b", "c", *values]


@pytest.mark.parametrize(
    ("data", "levels", "expected"),
    [
        (column(pd.Categorical(["c", None, "a"], categories=["a", "b", "c"])), ("c", "a"), ["c", None, "a"]),
        (DOSE, ("2", "1", "0.5"), ["0.5", "1", "2", None, "0.5"]),
        (column([True, False, None], dtype="boolean"), ("TRUE", "FALSE"), ["TRUE", "FALSE", None]),
        (column([1, 1]), ("2", "1", "0.5"), ["1", "1"]),
    ],
    ids=["unused categories", "numbers", "truth values", "some of the levels"],
)
def test_columns_of_any_kind_become_factors(data, levels, expected):
    factor = with_levels(data, levels, False, "g")
    assert (factor.levels, labels(factor)) == (levels, expected)


def test_a_level_that_a_factor_lacks_is_refused():
    said = "Column 'g' has the level(s) '3', which the model was not fitted to. It knows: '2', '1', '0.5'."
    with pytest.raises(DataError, match=re.escape(said)):
        with_levels(column([1, 3]), ("2", "1", "0.5"), False, "g")


FORMS = (
    "Give a list of the levels, or {'A': 1, 'B': -1, ..} for one contrast, {'A': [1, 0], 'B': [-1, 1], ..} for "
    "several, {'name': {'A': 1, 'B': -1, ..}, ..} for contrasts with names."
)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("ABC", "factors['g'] is 'ABC'. Give a list: the levels 'A', 'B', 'C' in the order you want."),
        (["A", "B", "D"], "factors['g'] names the level 'D', which the data lack. Their levels are 'A', 'B', 'C'."),
        (["A", "B", "C", 1], "factors['g'] names the level 1, which the data lack. Their levels are 'A', 'B', 'C'."),
        (["A", "B"], "factors['g'] leaves out 'C'. Name every level in the data: 'A', 'B', 'C'. To leave a level out"),
        ([], "factors['g'] leaves out 'A', 'B', 'C'."),
        (["A", "B", "C", "A"], "factors['g'] names the level 'A' twice. Name each once: 'A', 'B', 'C'."),
        (["A", "B", None], "factors['g'] has None for a level. The levels in the data are 'A', 'B', 'C'."),
        (["A", ["B", "C"]], "factors['g'] has ['B', 'C'] for a level."),
        ({"A": 1, "B": -1}, "factors['g'] leaves out 'C'. Name every level in the data: 'A', 'B', 'C'. To leave a "
                            "level out of a contrast give it the weight 0"),
        ({"n": {"A": 1, "B": -1, "C": 0}, "m": {"A": 1, "B": 0, "D": -1}}, "factors['g'] names the level 'D'"),
        ({"A": 1, "B": -1, "C": "0"}, "factors['g'] gives the level 'C' the weight '0', which is not a finite number. "
                                       + FORMS),
        ({"A": 1, "B": -1, "C": True}, "gives the level 'C' the weight True, which is not a finite number."),
        ({"A": np.inf, "B": -1, "C": 0}, "gives the level 'A' the weight inf"),
        ({"A": [1, 0], "B": [-1], "C": [0, 1]}, "gives the levels different numbers of weights, or none ('A': 2, 'B': "
         "1, 'C': 2). Give each level a number, or each a list of as many as there are contrasts, 1 to 2."),
        ({"A": [1, 0, 0], "B": [-1, 1, 0], "C": [0, -1, 0]}, "Contrasts in factors['g']: 3, levels: 3. Give 1 to"),
        ({"A": 1, "B": -0.5, "C": -0.4}, "Contrast 1 of factors['g'], (1, -0.5, -0.4), sums to 0.1. Weights sum to 0, "
                                         "as 1, -0.5, -0.5 do; for thirds write 1/3, not 0.33."),
        ({"n": {"A": 1, "B": 1, "C": 0}}, "Contrast 'n' of factors['g'], (1, 1, 0), sums to 2."),
        ({"A": [1, 2], "B": [-1, -2], "C": [0, 0]}, "Contrast 2 of factors['g'], (2, -2, 0), is a multiple or a sum "
         "of those before it. Leave it out, and one that is independent is solved for."),
        ({"": {"A": 1, "B": -1, "C": 0}}, "factors['g'] names its contrasts ''. Give each a name of its own."),
        ({1: {"A": 1, "B": -1, "C": 0}, "1": {"A": 0, "B": -1, "C": 1}}, "factors['g'] names its contrasts '1', '1'."),
    ],
)  # fmt: skip
def test_a_spec_that_does_not_fit_is_refused(spec, said):
    with pytest.raises(OptionError, match=re.escape(said)):
        coding("g", spec, ABC)


@pytest.mark.parametrize(
    ("values", "spec", "said"),
    [
        (["low", "high"], ["low", "hihg"], "Their levels are 'high', 'low'. Did you mean 'high'?"),
        ([0.5, 1.0], [0.5, 2], "factors['g'] names the level 2, which the data lack. Their levels are 0.5, 1."),
        ([0.5, 1.0], [0.5, 1, "1.0"], "factors['g'] names the level 1 twice. Name each once: 0.5, 1."),
        ([1, 2], {1: 1, 2: "x"}, "gives the level 2 the weight 'x', which is not a finite number. Give a list of the "
                                 "levels, or {1: 1, 2: -1, ..}"),
        ([True, False], [True], "factors['g'] leaves out False. Name every level in the data: False, True."),
        (["1", "2", "2.0"], ["1", "2", "2.00"], "factors['g'] names the level '2.00', which the data lack."),
        (["1.0", "1.00", "2"], [1, 2], "factors['g'] names the level 1, which the data lack."),
        (pd.Categorical(["a", "b"], categories=["a", "b", "c"]), ["a", "b", "c"], "names the level 'c', which the "
         "data lack. Their levels are 'a', 'b'. 'c' is a category without rows."),
        (np.arange(40.0), [1, 2], "leaves out 0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, .. (38 in all)."),
    ],
)  # fmt: skip
def test_a_refusal_shows_the_levels_in_the_data(values, spec, said):
    with pytest.raises(OptionError, match=re.escape(said)):
        coding("g", spec, column(values))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            ["a", "a", None],
            "Column 'g' has one value only, 'a'. A factor has two levels or more: drop it from factors=.",
        ),
        ([np.nan, np.nan], "Column 'g' has no values, only missing ones. A factor has two levels or more"),
        (pd.Categorical(["a"], categories=["a", "b"]), "Column 'g' has one value only, 'a'."),
    ],
)
def test_a_column_with_one_value_is_no_factor(values, said):
    with pytest.raises(DataError, match=re.escape(said)):
        coding("g", ["a", "b"], column(values))
