"""Formulas and arguments that R or pymer4 refuses, each with its caret."""

from __future__ import annotations

import pytest
from test_formula import COLUMNS, failure, read

from pymer4.errors import RError
from pymer4.models.lmer_formula import argument_names, read_formula, readable
from pymer4.rbridge import bridge

pytestmark = pytest.mark.r


def culprit(message):
    """Return the shown line from its caret on."""
    line, caret = message.split("\n")[-2:]
    assert caret.strip() == "^"
    return line[caret.index("^") :]


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


@pytest.mark.parametrize(
    "right", ["ave(x, g, FUN = median)", "C(g, contr.sum)", "C(g, contr = contr.sum)", "stats::C(g, contr.sum)"]
)
def test_a_function_may_be_passed_to_a_function(right):
    columns = ["y", "x", "g"]
    assert set(read(f"y ~ {right}", columns).columns) == ({*columns} if "median" in right else {"y", "g"})
    assert {"median", "contr.sum"} & set(read(f"y ~ {right}", [*columns, "median", "contr.sum"]).columns)


@pytest.mark.parametrize(
    "right",
    ["median", "log(median)", "I(x * median)", "ave(x, g, FUN = median) + median", "x[median]", "(median)"],
)
def test_a_function_is_no_column(right):
    message = failure(read, f"y ~ {right}", ["y", "x", "g"])
    assert culprit(message).startswith("median") and "FUN" not in culprit(message)
    assert message.split("\n")[-1].index("^") == message.split("\n")[-2].rindex("median")
    assert culprit(failure(read, "y ~ C(g, contr.sun)", ["y", "x", "g"])).startswith("contr.sun")


@pytest.mark.parametrize("coding", ["poly", "helmert", "sum", "treatment", "SAS"])
def test_a_coding_in_c_is_a_name_whatever_the_columns_are_called(coding):
    for right in (f"C(g, {coding})", f"C(g, contr = {coding})", f"C(g, {coding}, 1)"):
        assert read(f"y ~ {right}", ["y", "g", coding]).columns == ("y", "g")
    assert read(f"y ~ D(g, {coding}) + C({coding})", ["y", "g", coding]).columns == ("y", "g", coding)


@pytest.mark.parametrize(
    ("right", "rest"),
    [("log(x, log = 2) + log", "log + (1 | g)"), (". - z", "z + (1 | g)"), ("log(.)", ".) + (1 | g)")],
    ids=["functions and keywords of the same name", "with a dot", "a dot in a function is a name"],
)
def test_the_caret_stands_under_the_name_that_is_no_column(right, rest):
    assert culprit(failure(read, f"y ~ {right}", ["y", "x", "g"])) == rest


def test_many_columns_are_not_all_shown():
    message = failure(read, "y ~ q", [f"c{i}" for i in range(40)] + ["y", "g"])
    assert "c11, and 30 more." in message and "c12" not in message


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
        ("lmerControl(a = 1)", "An argument needs its name", "lmerControl(a = 1)"),
        ("a = 1, a = 2", "'a' is given twice.", "a = 2"),
        ("a = , b = 2", "'a' has no value.", "a = , b = 2"),
        ("a = 1, b =", "'b' has no value.", "b ="),
        ("a = 1,", "The text ends where a term is due.", ""),
        ("a = 1 b = 2", "'b' is not expected here.", "b = 2"),
        ("a = 'x", "\"'\" can't be read here. What it opens is empty or never closed.", "'x"),
        ("if = 1", "'if' is not expected here. It is a reserved word of R", "if = 1"),
    ],
)
def test_arguments_that_are_refused(text, message, rest):
    said = failure(argument_names, text)
    assert said.startswith(message)
    assert culprit(said) == rest


@pytest.mark.parametrize(
    "text, message, rest",
    [
        ("y", "There is no '~'. A formula has the form 'outcome ~ predictors + (1 | group)'.", ""),
        ("y = x + (1 | g)", "There is no '~'.", "= x + (1 | g)"),
        ("~ x + (1 | g)", "The outcome is missing before '~'.", "~ x + (1 | g)"),
        ("I(y ~ x)", "'~' does not stand between two sides.", "~ x)"),
        ("y ~ x ~ z", "There is more than one '~'.", "~ z"),
        ("y ~", "The text ends where a term is due.", ""),
        ("y ~ x + (1 | g", "'(' is never closed.", "(1 | g"),
        ("y ~ x + 1 | g)", "')' closes nothing.", ")"),
        ("y ~ ()", "')' is not expected here.", ")"),
        ("y ~ a b", "'b' is not expected here.", "b"),
        ("y ~ x + * z", "'*' is not expected here.", "* z"),
        ("y ~ x %in z", "'%' can't be read here.", "%in z"),
        ("y ~ `a + b", "'`' can't be read here. What it opens is empty or never closed.", "`a + b"),
        ("y ~ ax² + z", "'²' is no part of a name unless in backticks.", "² + z"),
        ("y ~ I(x<-1)", "'<-' is not expected here. R reads it as an assignment: write '< -'.", "<-1)"),
        ("y ~ I(x = = 1)", "'=' is not expected here. Compare with '=='.", "= 1)"),
        ("y ~ I(a < b < c)", "'<' is not expected here.", "< c)"),
        ("y ~ function(x) x", "'function' is not expected here. It is a reserved word of R", "function(x) x"),
        ("y ~ x |> log", "'|>' needs a function call on its right, such as log().", "|> log"),
        ("y ~ 2(x) + (1 | g)", "What stands before '(' is no function.", "2(x) + (1 | g)"),
        ("y ~ x + 1 | g + 1 | h", "There is a '|' inside a random-effects term.", "| g + 1 | h"),
    ],
)
def test_formulas_that_are_refused(text, message, rest):
    said = failure(read_formula, text, COLUMNS)
    assert said.startswith(message)
    assert culprit(said) == rest
    assert f"\n  {text}\n" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (r"y ~ `a\d`", r"R can't read this: '\d' is an unrecognized escape"),
        (r"y ~ x |> log('a\d')", r"R can't read this: '\d' is an unrecognized escape"),
        (3, "formula must be a str, got int. The formula comes first: Lmer(formula, data)."),
        (None, "formula must be a str, got NoneType"),
        ("", "The formula is empty. A formula has the form"),
        ("  \n", "The formula is empty. A formula has the form"),
        ("y ~ x\0 + (1 | g)", "can't be read here."),
        ("y ~ \ud800 + (1 | g)", "can't be read here."),
    ],
    ids=ascii,
)
def test_what_is_no_formula_of_r(text, said):
    assert said in failure(read_formula, text, COLUMNS)


def test_only_the_line_with_the_culprit_is_shown():
    assert failure(read, "y ~ a +\n\tb +\n\t* c +\n d").endswith("here.\n   * c + \n   ^".replace("+ ", "+"))


def test_a_long_line_is_shown_around_the_caret():
    said = failure(read, f"y ~ {'aaaa + ' * 100}* {'bbbb + ' * 100}z")
    assert culprit(said).startswith("* bbbb")
    assert max(map(len, said.split("\n"))) < 115


@pytest.mark.parametrize(
    "deep", ["(" * 5000 + "x" + ")" * 5000, "f(" * 400 + "x" + ")" * 400, "a" + "^a" * 5000, "!" * 99999 + "x"]
)
def test_deep_nesting_is_refused(deep):
    said = failure(read, f"y ~ {deep}")
    assert len(said) < 300 and ("(" not in deep or said.startswith("The text is nested too deeply to be read.\n"))


@pytest.mark.parametrize("deep", ["(" * 48 + "x" + ")" * 48, "-" * 5000 + "x"])
def test_nesting_as_deep_as_r_allows_is_read(deep):
    assert read(f"y ~ {deep}").columns == ("y", "x", "g")


def test_the_reading_leaves_nothing_in_r():
    with bridge._lock:
        names = bridge._started().interface.baseenv["ls"](bridge._started().interface.globalenv)
        before = list(names)
    read("y ~ . + (1 | g)", ["y", "x", "g"])
    with bridge._lock:
        assert list(bridge._started().interface.baseenv["ls"](bridge._started().interface.globalenv)) == before
