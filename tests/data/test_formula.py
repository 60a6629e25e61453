"""Formulas as R reads them: known records, every error with its caret, and lme4's own parts of the same texts."""

import copy
import doctest
import os
import pickle
import shutil
import subprocess

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pymer4.data import rformula
from pymer4.data.rformula import FixedTerm, Grouping, RandomTerm, Response, RFormula
from pymer4.errors import FormulaError, RError
from pymer4.models.lmer_formula import argument_names, read_formula, readable
from pymer4.rbridge import bridge

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


def culprit(message):
    """Return the shown line from its caret on."""
    line, caret = message.split("\n")[-2:]
    assert caret.strip() == "^"
    return line[caret.index("^") :]


def test_the_examples_in_the_docstrings_run():
    assert doctest.testmod(rformula).attempted and not doctest.testmod(rformula).failed


# --- the record ---


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
        ("y ~ x + (1 | g)", "y x g"),
        ("cbind(hit, miss) ~ x + (1 | g)", "hit miss x g"),
        ("log(y) ~ poly(x, degree = 2) + (1 | a/b)", "y x a b"),
        ("I(y / 2) ~ offset(log(n)) + f", "y n f g"),
        ("a/b ~ x", "a b x g"),
        ("y ~ d$x + m@z + (1 | g)", "y d m g"),
        ("y ~ stats::poly(x, 2) + ave(z, g, FUN = base::mean)", "y x z g"),
        ("y ~ x + z + x:z", "y x z g"),
        ("y ~ T + pi + TRUE + NULL", "y g"),
        ("y ~ f(x)(z)", "y x z g"),
        ("y ~ ifelse(g == 'x', 0x1F, b)", "y g b"),
        ("y ~ x[, 1]", "y x g"),
        ("y ~ f() + f(, x)", "y x g"),
        ("y ~ {a; b}", "y a b g"),
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
        ("y ~ x + (1 | g)", "x", ["1 | g"]),
        ("y ~ x + (1 | g) + (0 + x | h)", "x", ["1 | g", "0 + x | h"]),
        ("y ~ (1 | g) + x + (1 | h) + z", "x z", ["1 | g", "1 | h"]),
        ("y ~ x + (1 + x || g) + (1 | a/b)", "x", ["1 + x || g", "1 | a/b"]),
        ("y ~ 1 + (1 | a:b)", "", ["1 | a:b"]),
        ("y ~ (1 | g)", "", ["1 | g"]),
        ("y ~ ((1 | g))", "", ["1 | g"]),
        ("y ~ 1 | g", "", ["1 | g"]),
        ("y ~ x + 1 | g", "", ["x + 1 | g"]),
        ("y ~ 0 + x + (1 | g)", "x", ["1 | g"]),
        ("y ~ x - 1 + (x - 1 | g)", "x", ["x - 1 | g"]),
        ("y ~ x + (1 | g) - 1", "x", ["1 | g"]),
        ("y ~ (x + (1 | g)) * z", "x z x:z", ["1 | g"]),
        ("y ~ x * (1 | g)", "x", ["1 | g"]),
        ("y ~ a * b + a:c + (a * b | g)", "a b a:b a:c", ["a * b | g"]),
        ("y ~ (a + b)^2 - a + (1 | g)", "b a:b", ["1 | g"]),
        ("y ~ poly(x,2) + I(x^2) + (1 | g)", "poly(x,2) I(x^2)", ["1 | g"]),
        ("y ~ !z + (1 | g)", "!z", ["1 | g"]),
        ("y ~ x + cs(0 + f | g, hom = TRUE)", None, ["cs(0 + f | g, hom = TRUE)"]),
        ("y ~ diag(x) + (1 | g)", "diag(x)", ["1 | g"]),
    ],
)
def test_fixed_and_random_parts(text, labels, random):
    found = read(text)
    if labels is not None:  # lme4 1 reads no structures
        assert [term.label.replace(", ", ",") for term in found.terms] == labels.split()
    assert [term.text for term in found.random] == random


def test_what_is_taken_out_again_is_no_predictor_but_is_needed():
    found = read("y ~ x + z - z + (1 | g)")
    assert (found.predictors, found.fixed) == (("x",), ("x", "z"))
    assert read("y ~ x * z - z").predictors == ("x", "z")


def test_new_rows_need_what_lme4_may_drop():
    assert read("y ~ x + I(a | b) + (1 | g)").fixed == ("x", "a", "b")


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


def test_a_dot_alone_stays():
    assert read("y ~ . + (1 | y)", ["y"]).written == "y ~ . + (1 | y)"


def test_outer_space_goes_and_white_space_of_other_scripts_is_a_blank():
    assert read("  y  ~ x\n  + z + (1 | g)\n").written == "y  ~ x\n  + z + (1 | g)"
    assert read("y ~\tx\u00a0+\r\n`a\tb` + (1 | g)", [*COLUMNS, "a\tb"]).columns == ("y", "x", "a\tb", "g")


def test_records_compare_copy_and_pickle():
    found = read("y ~ x + (1 + x || a/b)")
    assert found == read("y ~ x + (1 + x || a/b) ") and found != read("y ~ x")
    assert copy.deepcopy(found) == found and pickle.loads(pickle.dumps(found)) == found
    with pytest.raises(AttributeError):
        found.written = "y ~ z"


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


# --- columns ---


def test_constants_of_r_give_way_to_columns():
    text = "y ~ T + F + I(pi * x) + x"
    assert read(text, ["y", "x", "g"]).columns == ("y", "x", "g")
    assert read(text, ["y", "x", "T", "pi", "g"]).columns == ("y", "T", "pi", "x", "g")


def test_a_missing_column_is_shown():
    message = failure(read, "Reaction ~ Days + (Dayz | Subject)", ["Reaction", "Days", "Subject"])
    assert message == (
        "'Dayz' is not a column of the data. Did you mean 'Days'? The columns are: Reaction, Days, Subject.\n"
        "  Reaction ~ Days + (Dayz | Subject)\n"
        "                     ^"
    )


def test_the_caret_skips_functions_and_keywords_of_the_same_name():
    assert culprit(failure(read, "y ~ log(x, log = 2) + log", ["y", "x"])) == "log + (1 | g)"


def test_a_function_may_be_passed_to_a_function():
    columns = ["y", "x", "g"]
    for right in ("ave(x, g, FUN = median)", "C(g, contr.sum)", "C(g, contr = contr.sum)", "stats::C(g, contr.sum)"):
        assert set(read(f"y ~ {right}", columns).columns) == ({*columns} if "median" in right else {"y", "g"})
        found = read(f"y ~ {right}", [*columns, "median", "contr.sum"]).columns
        assert {"median", "contr.sum"} & set(found)
    for right in (
        "median",
        "log(median)",
        "I(x * median)",
        "ave(x, g, FUN = median) + median",
        "x[median]",
        "(median)",
    ):
        message = failure(read, f"y ~ {right}", columns)
        assert culprit(message).startswith("median") and "FUN" not in culprit(message)
        assert message.split("\n")[-1].index("^") == message.split("\n")[-2].rindex("median")
    assert culprit(failure(read, "y ~ C(g, contr.sun)", columns)).startswith("contr.sun")


@pytest.mark.parametrize("coding", ["poly", "helmert", "sum", "treatment", "SAS"])
def test_a_coding_in_c_is_a_name_whatever_the_columns_are_called(coding):
    for right in (f"C(g, {coding})", f"C(g, contr = {coding})", f"C(g, {coding}, 1)"):
        assert read(f"y ~ {right}", ["y", "g", coding]).columns == ("y", "g")
    assert read(f"y ~ D(g, {coding}) + C({coding})", ["y", "g", coding]).columns == ("y", "g", coding)


def test_many_columns_are_not_all_shown():
    message = failure(read, "y ~ q", [f"c{i}" for i in range(40)] + ["y", "g"])
    assert "c11, and 30 more." in message and "c12" not in message


def test_a_dot_inside_a_function_is_a_name():
    assert failure(read, "y ~ log(.)", ["y", "x", "g"]).startswith("'.' is not a column of the data.")


def test_with_a_dot_unknown_names_are_still_refused():
    assert culprit(failure(read, "y ~ . - z", ["y", "x", "g"])) == "z + (1 | g)"


def test_a_random_part_is_required():
    message = failure(read_formula, "y ~ x + I(a | b)", COLUMNS)
    assert message.startswith("There is no random-effects term such as (1 | group). Use Lm for a model without one.")
    assert "y ~ x + I(a | b)" in message
    message = failure(read, "y ~ x + (1 | g) + (0|h)")
    assert message.startswith("(0 | h) has no effect that differs between groups. Write (1 | group) for their means.")
    assert culprit(message) == "|h)"


def test_terms_that_r_makes_nothing_of_are_in_its_words():
    with pytest.raises(RError, match="invalid model formula") as caught:
        read("y ~ 2 * x")
    assert caught.value.formula == "y ~ 2 * x + (1 | g)"


# --- arguments ---


def test_arguments_of_a_call():
    text = "optimizer='Nelder_Mead', optCtrl = list(FtolAbs=1e-8), check.nobs.vs.nlev = \"ignore\""
    assert argument_names(text) == ["optimizer", "optCtrl", "check.nobs.vs.nlev"]
    assert argument_names(" \n") == []
    assert argument_names(readable("a = 1,\u00a0b\r\n= '\u00a0'")) == ["a", "b"]
    assert argument_names("'a b' = -1, `c` = NULL") == ["a b", "c"]


@pytest.mark.parametrize(
    "text, message, rest",
    [
        ("a = 1, 'bobyqa'", "An argument needs its name, as in optimizer = 'bobyqa'.", "'bobyqa'"),
        ("a = 1, , b = 2", "An argument needs its name", ", b = 2"),
        ("lmerControl(a = 1)", "An argument needs its name", "lmerControl(a = 1)"),
        ("a = 1, a = 2", "'a' is given twice.", "a = 2"),
        ("a = , b = 2", "'a' has no value.", "a = , b = 2"),
        ("a = 1, b =", "'b' has no value.", "b ="),
        ("a = 1,", "The text ends where a term is due.", ""),
        ("a = 1 b = 2", "'b' is not expected here.", "b = 2"),
        ("a = list(1", "'(' is never closed.", "(1"),
        ("a = 'x", "\"'\" can't be read here. What it opens is empty or never closed.", "'x"),
        ("if = 1", "'if' is not expected here. It is a reserved word of R", "if = 1"),
    ],
)
def test_arguments_that_are_refused(text, message, rest):
    said = failure(argument_names, text)
    assert said.startswith(message)
    assert culprit(said) == rest


# --- errors ---


@pytest.mark.parametrize(
    "text, message, rest",
    [
        ("y", "There is no '~'. A formula has the form 'outcome ~ predictors + (1 | group)'.", ""),
        ("y = x + (1 | g)", "There is no '~'.", "= x + (1 | g)"),
        ("y <- x", "There is no '~'.", "<- x"),
        ("~ x + (1 | g)", "The outcome is missing before '~'.", "~ x + (1 | g)"),
        ("I(y ~ x)", "'~' does not stand between two sides.", "~ x)"),
        ("y ~ x ~ z", "There is more than one '~'.", "~ z"),
        ("y ~ x + (~z)", "There is more than one '~'.", "~z)"),
        ("y ~", "The text ends where a term is due.", ""),
        ("y ~ x +", "The text ends where a term is due.", ""),
        ("y ~ x + (1 | g", "'(' is never closed.", "(1 | g"),
        ("y ~ f(g(x)", "'(' is never closed.", "(g(x)"),
        ("y ~ x + 1 | g)", "')' closes nothing.", ")"),
        ("y ~ x[1)", "')' closes another kind of bracket.", ")"),
        ("y ~ ()", "')' is not expected here.", ")"),
        ("y ~ x + (1 | )", "')' is not expected here.", ")"),
        ("y ~ a b", "'b' is not expected here.", "b"),
        ("y ~ 2x", "'x' is not expected here.", "x"),
        ("y ~ x + * z", "'*' is not expected here.", "* z"),
        ("y ~ x, z", "',' is not expected here.", ", z"),
        ("y ~ x \\ z", "'\\\\' can't be read here.", "\\ z"),
        ("y ~ x %in z", "'%' can't be read here.", "%in z"),
        ("y ~ `a + b", "'`' can't be read here. What it opens is empty or never closed.", "`a + b"),
        ("y ~ `` + b", "'`' can't be read here. What it opens is empty or never closed.", "`` + b"),
        ("y ~ “x”", "'“' can't be read here.", "“x”"),
        ("y ~ ax² + z", "'²' is no part of a name unless in backticks.", "² + z"),
        ("y ~ I(x<-1)", "'<-' is not expected here. R reads it as an assignment: write '< -'.", "<-1)"),
        ("y ~ I(x = = 1)", "'=' is not expected here. Compare with '=='.", "= 1)"),
        ("y ~ I(a < b < c)", "'<' is not expected here.", "< c)"),
        ("y ~ function(x) x", "'function' is not expected here. It is a reserved word of R", "function(x) x"),
        ("y ~ d$(x)", "'(' is not expected here.", "(x)"),
        ("y ~ d$b::c", "'::' is not expected here.", "::c"),
        ("y ~ x |> log", "'|>' needs a function call on its right, such as log().", "|> log"),
        ("y ~ x |> a:b", "'|>' needs a function call on its right, such as log().", "|> a:b"),
        ("y ~ 2(x) + (1 | g)", "What stands before '(' is no function.", "2(x) + (1 | g)"),
        ("y ~ x + 1 | g + 1 | h", "There is a '|' inside a random-effects term.", "| g + 1 | h"),
        ("y ~ ((1 | g) | h)", "There is a '|' inside a random-effects term.", "| g) | h)"),
    ],
)
def test_formulas_that_are_refused(text, message, rest):
    said = failure(read_formula, text, COLUMNS)
    assert said.startswith(message)
    assert culprit(said) == rest
    assert f"\n  {text}\n" in said


@pytest.mark.parametrize("text", [r"y ~ `a\d`", r"y ~ x |> log('a\d')"])
def test_what_r_alone_can_say_is_said_in_its_words(text):
    said = failure(read_formula, text, COLUMNS)
    assert said.startswith(r"R can't read this: '\d' is an unrecognized escape")
    assert said.endswith(f"\n  {text}")


def test_a_formula_must_be_text():
    said = failure(read_formula, pd.DataFrame({"y": [1]}), COLUMNS)
    assert said == "formula must be a str, got DataFrame. The formula comes first: Lmer(formula, data)."
    assert "got NoneType" in failure(read_formula, None, COLUMNS)


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_formula(text):
    assert failure(read_formula, text, COLUMNS).startswith("The formula is empty. A formula has the form")


@pytest.mark.parametrize("text", ["y ~ x\0 + (1 | g)", "y ~ \ud800 + (1 | g)"])
def test_characters_that_r_has_no_text_for(text):
    assert "can't be read here." in failure(read_formula, text, COLUMNS)


def test_only_the_line_with_the_culprit_is_shown():
    assert failure(read, "y ~ a +\n\tb +\n\t* c +\n d").endswith("here.\n   * c + \n   ^".replace("+ ", "+"))


def test_a_long_line_is_shown_around_the_caret():
    said = failure(read, f"y ~ {'aaaa + ' * 100}* {'bbbb + ' * 100}z")
    assert culprit(said).startswith("* bbbb")
    assert max(map(len, said.split("\n"))) < 115


@pytest.mark.parametrize("deep", ["(" * 5000 + "x" + ")" * 5000, "f(" * 400 + "x" + ")" * 400])
def test_deep_nesting_is_refused(deep):
    assert failure(read, f"y ~ {deep}").startswith("The text is nested too deeply to be read.\n")


@pytest.mark.parametrize("deep", ["a" + "^a" * 5000, "!" * 99999 + "x"])
def test_what_r_has_no_room_for_is_refused(deep):
    assert len(failure(read, f"y ~ {deep}")) < 300


def test_nesting_as_deep_as_r_allows_is_read():
    assert read(f"y ~ {'(' * 48}x{')' * 48}").columns == ("y", "x", "g")
    assert read(f"y ~ {'-' * 5000}x").columns == ("y", "x", "g")


def test_the_reading_leaves_nothing_in_r():
    with bridge._lock:
        names = bridge._started().interface.baseenv["ls"](bridge._started().interface.globalenv)
        before = list(names)
    read("y ~ . + (1 | g)", ["y", "x", "g"])
    with bridge._lock:
        assert list(bridge._started().interface.baseenv["ls"](bridge._started().interface.globalenv)) == before


# --- against lme4 ---

FORMULAS = """
y ~ x + (1 | g)
y ~ 1 + (1 | g)
y ~ (1 | g)
y ~ x + (1 + x | g)
y ~ x + (0 + x | g)
y ~ x + (x - 1 | g)
y ~ x + (1 + x || g)
y ~ x + z + (x + z || g)
y ~ x + (0 + x || g)
y ~ x + (1 | a/b)
y ~ x + (x | a/b) + (1 | c)
y ~ x + (1 + x || a/b)
y ~ x + (1 | a:b)
y ~ x + (1 | a) + (1 | b)
y ~ x * z + (x * z | g)
y ~ (x + z)^2 - x + (1 | g)
y ~ 0 + x + (1 | g)
y ~ x - 1 + (1 | g)
y ~ -1 + x + (1 | g)
y ~ x + (1 | g) - 1
y ~ (1 | g) - 1
y ~ (1 | g) + x + (1 | h) + z
y ~ (x + (1 | g)) * z
y ~ x * (1 | g)
y ~ x - (1 | g)
y ~ ((1 | g)) + ((x))
y ~ 1 | g
y ~ x + 1 | g
log(y) ~ log(x) + offset(log(n)) + (1 | g)
I(y/2) ~ I(x^2) + (1 | g)
cbind(hit, n - hit) ~ x + (1 | g)
a/b ~ x + (1 | g)
y ~ poly(x, 2, raw = TRUE) + scale(z, center = FALSE) + (poly(x, 2) | g)
y ~ splines::ns(x, df = 3) + (1 | g)
`the y` ~ `my var` * `b\\`c` + (1 + `my var` | `a group`)
y ~ x %in% z + a:b + (1 | g)
y ~ x * !z + (1 | g)
y ~ !z + (1 | g)
y ~ x > 2 + (1 | g)
y ~ -x^2 + a:-b + (1 | g)
y ~ factor(x, levels = c("a", "b")) + (1 | factor(g))
y ~ I(x > 1 & z <= 2) + (I(x == 3) | g)
y ~ T + pi + I(x * TRUE) + (T | g)
y ~ d[["x"]] + m[, 1] + d$element + (1 | g)
y ~ x |> log() + z + (1 | g)
y ~ x**2 + (1 | g)
größe ~ .x + my.var_1 + (1 | g) # and a comment
y ~ relevel(f, ref = "b") + cut(x, c(0, 1.5, 1000), labels = FALSE) + (1 | g)
y ~ . + (1 | g)
""".strip().split("\n")

QUESTIONS = r"""
suppressMessages(library(lme4))
vars <- function(e) paste(sort(all.vars(e)), collapse = "\x1d")
for (line in readLines(file("stdin", encoding = "UTF-8"), encoding = "UTF-8")) {
  f <- as.formula(line)
  bars <- findbars(f)
  sides <- vapply(bars, function(bar) paste(vars(bar[[2]]), vars(bar[[3]]), sep = "\x1f"), "")
  cat(paste(all.vars(f), collapse = "\x1d"), sides, sep = "\x1e")
  cat("\n")
}
"""


@pytest.fixture(scope="module")
def lme4_says():
    """Return of each formula the variables, and of each bar that lme4 makes of it those on its left and right."""
    assert shutil.which("Rscript"), "this test needs R on the PATH"
    command = ["Rscript", "--vanilla", "-e", QUESTIONS]
    environment = os.environ | {"LC_ALL": "C.UTF-8"}
    asked = "\n".join(FORMULAS) + "\n"
    reply = subprocess.run(command, input=asked, capture_output=True, text=True, encoding="utf-8", env=environment)
    assert reply.returncode == 0, reply.stderr
    told = {}
    for text, line in zip(FORMULAS, reply.stdout.strip("\n").split("\n"), strict=True):
        names, *bars = line.split("\x1e")
        told[text] = names.split("\x1d"), [tuple(side.split("\x1d") for side in bar.split("\x1f")) for bar in bars]
    return told


@pytest.mark.parametrize("text", FORMULAS)
def test_the_parts_are_those_of_lme4(text, lme4_says):
    names, bars = lme4_says[text]
    # all.vars() counts a package before `::`, an element after `$`, and what is no column.
    columns = [name for name in names if name not in ("splines", "ns", "element", ".", "T", "pi")]
    found = read_formula(text, columns)
    assert found.columns == tuple(columns)
    groupings = {frozenset(grouping.columns) for grouping in found.groupings}
    assert groupings == {frozenset(group) for _, group in bars}
    for group in groupings:
        ours = {n for t in found.random for g in t.groupings if {*g.columns} == group for n in t.varying}
        theirs = {name for effects, side in bars if {*side} == group for name in effects}
        assert ours == theirs - {"", "T"}
