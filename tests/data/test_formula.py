"""Formulas as R reads them: known records, every error with its caret."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pymer4.data.rformula import FixedTerm, Grouping, RandomTerm, Response, RFormula
from pymer4.errors import FormulaError, RError
from pymer4.models.lmer_formula import read_formula

pytestmark = pytest.mark.r

COLUMNS = ["y", "x", "z", "g", "h", "a", "b", "c", "f", "n", "d", "m", "hit", "miss", "größe", ".x", "my.var_1"]


def read(text, columns=COLUMNS):
    """Read a formula whose random part matters to nobody."""
    return read_formula(text if "|" in text else f"{text} + (1 | g)", columns)


def failure(function, *args):
    """Return the message of the FormulaError that a call raises."""
    with pytest.raises(FormulaError) as caught:
        function(*args)
    return str(caught.value)


def test_a_record_has_all_parts():
    found = read("log(y) ~ x * f - f + offset(log(n)) + (1 + x || a/b) + (1 | g)")
    assert found == RFormula(
        written="log(y) ~ x * f - f + offset(log(n)) + (1 + x || a/b) + (1 | g)",
        response=Response("log(y)", ("y",), is_column=False),
        fixed=("x", "f", "n"),
        terms=(FixedTerm("x", ("x",)), FixedTerm("x:f", ("x", "f"))),
        offset=("n",),
        random=(
            RandomTerm(
                text="1 + x || a/b",
                effects="1 + x",
                varying=("x",),
                columns=("x", "a", "b"),
                correlated=False,
                groupings=(Grouping("a", ("a",), True), Grouping("a:b", ("a", "b"), True)),
            ),
            RandomTerm("1 | g", "1", (), ("g",), True, (Grouping("g", ("g",), True),)),
        ),
        functions=("offset", "log"),
        columns=("y", "x", "f", "n", "a", "b", "g"),
    )
    assert found.predictors == ("x", "f", "n")
    assert found.varying == ("x",)
    assert found.groups == ("a", "b", "g")


@pytest.mark.parametrize(
    "text, columns",
    [
        ("cbind(hit, miss) ~ x + (1 | g)", "hit miss x g"),
        ("log(y) ~ poly(x, degree = 2) + (1 | a/b)", "y x a b"),
        ("I(y / 2) ~ offset(log(n)) + f", "y n f g"),
        ("y ~ d$x + m@z + (1 | g)", "y d m g"),
        ("y ~ stats::poly(x, 2) + ave(z, g, FUN = base::mean)", "y x z g"),
        ("y ~ T + pi + TRUE + NULL", "y g"),
        ("y ~ ifelse(g == 'x', 0x1F, b)", "y g b"),
        ("y ~ x[, 1]", "y x g"),
        ("y ~ f() + f(, x)", "y x g"),
        ("y ~ 'log'(x) + f('n' = z, `h` = a)", "y x z a g"),
        ("y ~ x |> log() + z ** 2 + (1 | g)", "y x z g"),
        ("y ~ größe + .x + my.var_1 # and a comment\n + (1 | g)", "y größe .x my.var_1 g"),
    ],
)
def test_columns_in_order_of_first_appearance(text, columns):
    assert read(text).columns == tuple(columns.split())


def test_names_keep_their_spaces():
    columns = ["the outcome", "my var", "b`c", "a group", "a\\b", "a\nb", "if", "TRUE", "..1", "x²", "%in%"]
    quoted = ["`my var`", "`b\\`c`", r"`a\\b`", r"`a\nb`", "`if`", "`TRUE`", "`..1`", "`x²`", "`%in%`"]
    found = read(f"`the outcome` ~ {' + '.join(quoted)} + (1 + `my var` || `a group`)", columns)
    assert set(found.columns) == set(columns)
    assert found.response == Response("the outcome", ("the outcome",), is_column=True)
    assert found.groups == ("a group",) and found.groupings[0].label == "a group"
    assert found.random[0].effects == "1 + `my var`"
    assert found.predictors == ("my var", "b`c", "a\\b", "a\nb", "if", "TRUE", "..1", "x²", "%in%")


@pytest.mark.parametrize(
    "text, labels, random",
    [
        ("y ~ (1 | g) + x + (1 | h) + z", "x z", ["1 | g", "1 | h"]),
        ("y ~ x + (1 + x || g) + (1 | a/b)", "x", ["1 + x || g", "1 | a/b"]),
        ("y ~ (1 | g)", "", ["1 | g"]),
        ("y ~ 1 | g", "", ["1 | g"]),
        ("y ~ 0 + x + (1 | g)", "x", ["1 | g"]),
        ("y ~ x - 1 + (x - 1 | g)", "x", ["x - 1 | g"]),
        ("y ~ (x + (1 | g)) * z", "x z x:z", ["1 | g"]),
        ("y ~ x * (1 | g)", "x", ["1 | g"]),
        ("y ~ a * b + a:c + (a * b | g)", "a b a:b a:c", ["a * b | g"]),
        ("y ~ (a + b)^2 - a + (1 | g)", "b a:b", ["1 | g"]),
        ("y ~ poly(x,2) + I(x^2) + (1 | g)", "poly(x,2) I(x^2)", ["1 | g"]),
        ("y ~ x + cs(0 + f | g, hom = TRUE)", None, ["cs(0 + f | g, hom = TRUE)"]),
        ("y ~ diag(x) + (1 | g)", "diag(x)", ["1 | g"]),
    ],
)
def test_fixed_and_random_parts(text, labels, random):
    found = read(text)
    if labels is not None:  # lme4 1 reads no structures
        assert [term.label.replace(", ", ",") for term in found.terms] == labels.split()
    assert [term.text for term in found.random] == random


@pytest.mark.parametrize(
    ("text", "predictors", "fixed"),
    [
        ("y ~ x + z - z + (1 | g)", "x", "x z"),
        ("y ~ x * z - z", "x z", "x z"),
        ("y ~ x + I(a | b) + (1 | g)", "x", "x a b"),
    ],
    ids=["taken out again, but needed", "in an interaction", "what lme4 may drop"],
)
def test_new_rows_need_what_is_written(text, predictors, fixed):
    found = read(text)
    assert (found.predictors, found.fixed) == (tuple(predictors.split()), tuple(fixed.split()))


@pytest.mark.parametrize("structure, correlated", [("us", True), ("diag", False), ("cs", True), ("ar1", True)])
def test_covariance_structures(structure, correlated):
    (term,) = read(f"y ~ x + {structure}(0 + f | g, hom = TRUE)").random
    assert (term.effects, term.varying, term.correlated) == ("0 + f", ("f",), correlated)
    assert [grouping.label for grouping in term.groupings] == ["g"]


@pytest.mark.parametrize(
    "group, labels, columns, crossings",
    [
        ("g", ["g"], [("g",)], [True]),
        ("a/b", ["a", "a:b"], [("a",), ("a", "b")], [True, True]),
        ("(a/b/c)", ["a", "a:b", "a/b:c"], [("a",), ("a", "b"), ("a", "b", "c")], [True] * 3),
        ("a:b", ["a:b"], [("a", "b")], [True]),
        ("a + b", ["a", "b"], [("a",), ("b",)], [True, True]),
        ("factor(g)", ["factor(g)"], [("g",)], [False]),
        ("a:factor(b)", ["a:factor(b)"], [("a", "b")], [False]),
    ],
)
def test_groupings(group, labels, columns, crossings):
    found = read(f"y ~ x + (x | {group})").groupings
    assert [each.columns for each in found] == columns
    assert [each.is_crossing for each in found] == crossings
    if "/" not in labels[-1]:
        assert [each.label for each in found] == labels


def test_a_grouping_is_known_by_any_order_of_its_parts():
    nested = Grouping("a:b:c", ("a", "b", "c"), True)
    assert nested.is_called("c:(b:a)") and nested.is_called("a : c : b")
    assert not nested.is_called("a:b") and not nested.is_called("a:b:c:c") and not nested.is_called("(a:b:c")
    assert Grouping("the group", ("the group",), True).is_called("the group")
    assert not Grouping("a b", ("a b",), True).is_called("`a b`:c")


@pytest.mark.parametrize(
    "text, expected",
    [
        ("y ~ x", Response("y", ("y",), is_column=True)),
        ("a/b ~ x", Response("a/b", ("a", "b"), is_column=False)),
        ("cbind(a, b) ~ x", Response("cbind(a, b)", ("a", "b"), is_column=False, counts=("a", "b"))),
        ("cbind(a, n - a) ~ x", Response("cbind(a, n - a)", ("a", "n"), is_column=False, counts=("a",))),
    ],
)
def test_responses(text, expected):
    assert read(text).response == expected


@pytest.mark.parametrize(
    "text, functions",
    [
        ("y ~ x * z + a %in% b - 1 + (x || g / h)", []),
        ("log(y) ~ x", []),
        ("y ~ log(x) + splines::ns(z, 3) + (log(x) | g)", ["log", "splines::ns"]),
        ("y ~ offset(n) + I(x^2)", ["offset", "I"]),
        ("y ~ x > 2", [">"]),
        ("y ~ x + (1 | factor(g))", ["factor"]),
    ],
)
def test_functions_are_those_that_are_applied_to_predictors(text, functions):
    assert sorted(read(text).functions) == sorted(functions)


@pytest.mark.parametrize(
    "text, written",
    [
        ("y ~ . - g + (1 | g)", "y ~ (x + g + `my var`) - g + (1 | g)"),
        ("log(y) ~ (.)^2 + (1 | g)", "log(y) ~ ((x + g + `my var`))^2 + (1 | g)"),
        ("y ~ I(0.1 * x) + (. | g)", "y ~ I(0.1 * x) + ((x + g + `my var`) | g)"),
        ("y ~ x + (1 | g) # .", "y ~ x + (1 | g) # ."),
        ("y ~ .+I(x=='.') #.\n+(1|g)", "y ~ (x + g + `my var`)+I(x=='.') #.\n+(1|g)"),
    ],
)
def test_the_dot_is_written_out(text, written):
    found = read(text, ["y", "x", "g", "my var"])
    assert found.written == written
    assert set(found.columns) == ({"y", "x", "g"} if text == written else {"y", "x", "g", "my var"})


@pytest.mark.parametrize("name", [3, "", "a\0", "\ud800"])
def test_a_dot_among_columns_that_r_has_no_name_for(name):
    assert f"no name for {name!r}" in failure(read, "y ~ . + (1 | g)", ["y", "x", "g", name])
    assert read("y ~ x + (1 | g)", ["y", "x", "g", name]).columns == ("y", "x", "g")


def test_outer_space_goes_and_white_space_of_other_scripts_is_a_blank():
    assert read("  y  ~ x\n  + z + (1 | g)\n").written == "y  ~ x\n  + z + (1 | g)"
    assert read("y ~\tx\u00a0+\r\n`a\tb` + (1 | g)", [*COLUMNS, "a\tb"]).columns == ("y", "x", "a\tb", "g")


def test_hundreds_of_terms():
    columns = [f"x{i}" for i in range(800)]
    found = read(f"y ~ {' + '.join(columns)} + (1 | g)", ["g", *columns, "y"])
    assert found.columns == ("y", *columns, "g") and found.predictors == tuple(columns)


NAMES = st.one_of(
    st.sampled_from([".x", "my var", "if", "TRUE", "..1", "...", "`", "a\\", "é", "x²", "+", "%in%", "("]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=5),
).filter(lambda name: name not in (".", "y", "g"))


@settings(deadline=None)
@given(NAMES)
def test_any_name_can_be_a_variable(name):
    found = read("y ~ . - g + (1 | g)", ["y", name, "g"])
    assert found.predictors == (name,)
    assert read(found.written, ["y", name, "g"]).columns == found.columns


@settings(deadline=None)
@given(st.text("xyg1. ~+-*/:^|&!<>=%()[]{},;$@`'\"\\\n#²é", max_size=25))
@example("~" * 3000)
@example("y ~ " + "(" * 3000)
@example("y~x" + "[[" * 300)
def test_any_text_is_read_or_refused(text):
    try:
        found = read(text, ["x", "y", "g"])
    except (FormulaError, RError):
        return
    assert {"x", "y", "g"} >= set(found.columns)
