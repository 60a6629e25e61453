"""Formulas: known trees, every error with its caret, round trips, and R's own reading of the same texts."""

import copy
import doctest
import os
import pickle
import re
import shutil
import subprocess

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pymer4.data import formula as formula_module
from pymer4.data import syntax
from pymer4.data.formula import parse, parse_arguments, require_random
from pymer4.data.syntax import Call, Literal, Name, deparse
from pymer4.data.used import columns_used
from pymer4.errors import FormulaError


def tree(text):
    """Read any R expression."""
    return parse_arguments(f"x = {text}")["x"]


def random_of(text):
    """Return the random terms of a formula as texts."""
    return [term.text for term in parse(text).random]


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
    outcomes = [doctest.testmod(module) for module in (formula_module, syntax)]
    assert sum(outcome.attempted for outcome in outcomes) >= 8
    assert sum(outcome.failed for outcome in outcomes) == 0


# --- the tree ---


def test_a_tree_has_names_literals_and_calls():
    node = tree("log(x + 1, base = 'e')")
    total = Call("+", ((None, Name("x")), (None, Literal("1"))))
    assert node == Call("log", ((None, total), ("base", Literal("'e'"))))


@pytest.mark.parametrize(
    "text, grouped",
    [
        ("a + b * c", "a + (b * c)"),
        ("a - b - c", "(a - b) - c"),
        ("a ^ b ^ c", "a ^ (b ^ c)"),
        ("-a ^ b", "-(a ^ b)"),
        ("a ^ -b ^ c", "a ^ (-(b ^ c))"),
        ("-a : b", "(-a) : b"),
        ("a:b %in% c", "(a:b) %in% c"),
        ("a * b %in% c", "a * (b %in% c)"),
        ("a %% b %in% c", "(a %% b) %in% c"),
        ("a / b : c", "a / (b : c)"),
        ("!a == b", "!(a == b)"),
        ("!a & b", "(!a) & b"),
        ("a * !b + c", "a * (!(b + c))"),
        ("a + 1 | b", "(a + 1) | b"),
        ("a || b && c", "a || (b && c)"),
        ("a ~ b | c", "a ~ (b | c)"),
        ("a ^ ~b * c", "a ^ (~(b * c))"),
        ("-a$b[1]^c", "-(((a$b)[1])^c)"),
        ("f(x)(y)", "(f(x))(y)"),
        ("a$b(c)", "(a$b)(c)"),
    ],
)
def test_operators_bind_as_in_r(text, grouped):
    def bare(node):
        if not isinstance(node, Call):
            return node
        if node.function == "(":
            return bare(node.args[0][1])
        function = node.function if isinstance(node.function, str) else bare(node.function)
        return Call(function, tuple((key, bare(arg)) for key, arg in node.args))

    assert tree(text) == bare(tree(grouped))


@pytest.mark.parametrize(
    "text, same",
    [
        ("a ** b", "a ^ b"),
        ("a |> log()", "log(a)"),
        ("a |> poly(2) + b", "poly(a, 2) + b"),
        ("a |> stats::poly(2)", "stats::poly(a, 2)"),
        ("`+`(a, b)", "a + b"),
        ("`(`(a)", "(a)"),
        ("'log'(a)", "log(a)"),
        ("`a`", "a"),
        ("f('k' = 1, `l` = 2)", "f(k = 1, l = 2)"),
        ("a\n\t+ b # a comment", "a + b"),
        ("x[[1] ]", "x[[1]]"),
        ("a[b[1]]", "a[ b[ 1 ] ]"),
    ],
)
def test_spellings_of_one_tree(text, same):
    assert tree(text) == tree(same)


@pytest.mark.parametrize(
    "number", ["1", "1.5", "1.", ".5", "1e-3", "2E+4", ".5e2", "1L", "100000L", "0x1F", "0XfL", "2i"]
)
def test_numbers(number):
    assert tree(number) == Literal(number)


@pytest.mark.parametrize("word", ["TRUE", "FALSE", "NULL", "NA", "NaN", "Inf", "NA_real_", "NA_integer_"])
def test_reserved_constants_are_literals_and_names_in_backticks(word):
    assert tree(word) == Literal(word)
    assert tree(f"`{word}`") == Name(word)


@pytest.mark.parametrize("name", ["x", "my.var_1", ".x", "._1", ".", "größe", "变量", "T", "F", "pi", "x.", "..x"])
def test_syntactic_names_need_no_backticks(name):
    assert tree(name) == Name(name)
    assert deparse(Name(name)) == name


@pytest.mark.parametrize(
    "name, written",
    [
        ("my var", "`my var`"),
        ("a`b", "`a\\`b`"),
        ("a\\b", "`a\\\\b`"),
        ("a\nb", "`a\\nb`"),
        ("1x", "`1x`"),
        ("_x", "`_x`"),
        (".1x", "`.1x`"),
        ("%in%", "`%in%`"),
        ("if", "`if`"),
        ("TRUE", "`TRUE`"),
        ("...", "`...`"),
        ("..1", "`..1`"),
        ("x²", "`x²`"),
    ],
)
def test_other_names_stand_in_backticks(name, written):
    assert deparse(Name(name)) == written
    assert tree(written) == Name(name)


@pytest.mark.parametrize(
    "text",
    [
        "y ~ x + (1 | g)",
        "log(y) ~ poly(x, 2, raw = TRUE) * f - 1 + (0 + x || g)",
        "y ~ a:b + a %in% b + (a + b)^2 + I(x^2)",
        "x[, 1]",
        "x[]",
        "x[[1]][2, drop = FALSE]",
        "f()",
        "f(, x)",
        "f(k = )",
        "stats::poly(x)",
        "a$b$`c d`",
        'a$"b"',
        "a@b",
        "{a; b}",
        "{}",
        "!a | -b",
        "--a",
        "f(x)(y)",
        "factor(x, levels = c(\"a\", 'b'))",
    ],
)
def test_deparse_writes_what_r_would(text):
    assert deparse(tree(text)) == text


def test_deparse_never_adds_a_node():
    product = Call("*", ((None, tree("a + b")), (None, tree("!c"))))
    assert deparse(product) == "`+`(a, b) * !c"
    assert deparse(Call("+", ((None, product), (None, Name("d"))))) == "`*`(a + b, !c) + d"
    assert deparse(Call("^", ((None, tree("a^b")), (None, tree("c^d"))))) == "`^`(a, b)^c^d"
    assert deparse(Call("<", ((None, tree("a < b")), (None, Name("c"))))) == "`<`(a, b) < c"


NAMES = st.one_of(
    st.sampled_from(["x", "y", ".x", "my var", "if", "TRUE", "..1", "...", "`", "a\\", "é", "x²", "+", "%in%", "("]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=5),
)
LITERALS = st.sampled_from(
    ["1", "1.5", ".5", "1.", "1e-3", "1L", "0x1F", "TRUE", "NULL", "NA_real_", "'a'", '"b\\"c"', "''"]
)
INFIX = ["~", "+", "-", "*", "/", "^", ":", "|", "||", "&", "&&", "<", ">=", "==", "%in%", "%%", "|>", "**"]
OPERATORS = st.sampled_from([*INFIX, "!", "(", "[", "[[", "{", "$", "@", "::", ":::", "log", "I"])


def calls(nodes):
    args = st.lists(st.tuples(st.none() | NAMES, nodes), max_size=3)
    plain = st.lists(st.tuples(st.none(), nodes), min_size=1, max_size=2)
    computed = nodes.filter(lambda node: isinstance(node, Call))
    with_gap = plain.map(lambda found: [*found, (None, Name(""))])
    return st.one_of(
        st.builds(Call, OPERATORS, plain.map(tuple)),
        st.builds(Call, OPERATORS, plain.map(tuple)),
        st.builds(Call, OPERATORS | NAMES, args.map(tuple)),
        st.builds(Call, computed, args.map(tuple)),
        st.builds(Call, st.sampled_from(["[", "[[", "f", "+"]), with_gap.map(tuple)),
    )


NODES = st.recursive(st.builds(Name, NAMES) | st.builds(Literal, LITERALS), calls, max_leaves=12)


@given(NODES)
def test_deparsed_text_reads_back_as_the_same_tree(node):
    assert tree(deparse(node)) == node


@given(NAMES)
def test_any_name_can_be_a_variable(name):
    text = f"y ~ {deparse(Name(name))} + (1 | g)"
    assert set(parse(text).names) == {"y", "g", name} - {"."}


@given(st.text("xyg1. ~+-*/:^|&!<>=%()[]{},;$@`'\"\\\n#²é", max_size=25))
@example("~" * 3000)
@example("y ~ " + "(" * 3000)
@example("y~x" + "[[" * 300)
def test_any_text_is_read_or_refused(text):
    try:
        found = parse(text)
    except FormulaError:
        return
    assert parse(deparse(found.node)).node == found.node


# --- the parts of a formula ---


@pytest.mark.parametrize(
    "text, names",
    [
        ("y ~ x + (1 | g)", "y x g"),
        ("cbind(hit, miss) ~ x + (1 | g)", "hit miss x g"),
        ("log(y) ~ poly(x, degree = 2) + (1 | a/b)", "y x a b"),
        ("I(y / 2) ~ offset(log(n)) + s", "y n s"),
        ("a/b ~ x", "a b x"),
        ("y ~ d$x + d@z + (1 | g)", "y d g"),
        ("y ~ stats::poly(x, 2) + ave(z, g, FUN = base::mean)", "y x z g"),
        ("y ~ x + y + x:z", "y x z"),
        ("log ~ log(log)", "log"),
        ("y ~ T + pi + TRUE + NULL + NA_real_", "y T pi"),
        ("y ~ . + (1 | g)", "y g"),
        ("y ~ log(.)", "y ."),
        ("y ~ f(x)(z)", "y x z"),
        ("y ~ ifelse(g == 'x', 0x1F, b)", "y g b"),
        ("y ~ x[, 1]", "y x"),
    ],
)
def test_names(text, names):
    assert parse(text).names == tuple(names.split())


def test_names_keep_their_spaces():
    found = parse("`the outcome` ~ `my var` %in% `b\\`c` + (1 | `a group`)")
    assert found.names == ("the outcome", "my var", "b`c", "a group")
    assert deparse(found.fixed) == "`my var` %in% `b\\`c`"
    assert found.group_names == ("a group",)


@pytest.mark.parametrize(
    "text, fixed, random",
    [
        ("y ~ x", "x", []),
        ("y ~ x + (1 | g)", "x", ["1 | g"]),
        ("y ~ x + (1 | g) + (0 + x | h)", "x", ["1 | g", "0 + x | h"]),
        ("y ~ (1 | g) + x + (1 | h) + z", "x + z", ["1 | g", "1 | h"]),
        ("y ~ x + (1 + x || g) + (1 | a/b)", "x", ["1 + x || g", "1 | a/b"]),
        ("y ~ 1 + (1 | a:b)", "1", ["1 | a:b"]),
        ("y ~ (1 | g)", "1", ["1 | g"]),
        ("y ~ (1 | g) + (1 | h)", "1", ["1 | g", "1 | h"]),
        ("y ~ ((1 | g))", "1", ["1 | g"]),
        ("y ~ 1 | g", "1", ["1 | g"]),
        ("y ~ x + 1 | g", "1", ["x + 1 | g"]),
        ("y ~ 0 + x + (1 | g)", "0 + x", ["1 | g"]),
        ("y ~ x - 1 + (x - 1 | g)", "x - 1", ["x - 1 | g"]),
        ("y ~ x + (1 | g) - 1", "x - 1", ["1 | g"]),
        ("y ~ -1 + x + (1 | g)", "-1 + x", ["1 | g"]),
        ("y ~ (1 | g) - 1", "1", ["1 | g"]),
        ("y ~ (x + (1 | g)) * z", "(x) * z", ["1 | g"]),
        ("y ~ x * (1 | g)", "x", ["1 | g"]),
        ("y ~ a * b + a:c + (a * b | g)", "a * b + a:c", ["a * b | g"]),
        ("y ~ I(a | b) + (1 | g)", "I(a | b)", ["1 | g"]),
        ("y ~ ifelse(a | b, 1, 2)", "ifelse(a | b, 1, 2)", []),
        ("y ~ poly(x, 2) + scale(z) + I(x^2) + (1 | g)", "poly(x, 2) + scale(z) + I(x^2)", ["1 | g"]),
        ("y ~ . + (1 | g)", ".", ["1 | g"]),
        ("y ~ !z + (1 | g)", "!z", ["1 | g"]),
    ],
)
def test_fixed_and_random_parts(text, fixed, random):
    found = parse(text)
    assert deparse(found.fixed) == fixed.replace("a/b", "a / b")
    assert [term.text.replace(" / ", "/") for term in found.random] == random


def test_a_random_term_knows_its_parts():
    first, second = parse("y ~ x + (1 + x || a/b) + (1 | g)").random
    assert (deparse(first.expression), deparse(first.group), first.correlated, first.structure) == (
        "1 + x",
        "a / b",
        False,
        None,
    )
    assert second.correlated and second.group == Name("g") and second.expression == Literal("1")
    assert parse("y ~ (1 | a/b) + (1 | c:a)").group_names == ("a", "b", "c")


@pytest.mark.parametrize("structure, correlated", [("us", True), ("diag", False), ("cs", True), ("ar1", True)])
def test_covariance_structures(structure, correlated):
    found = parse(f"y ~ x + {structure}(0 + f | g, hom = TRUE)")
    (term,) = found.random
    assert (term.structure, term.correlated, term.group) == (structure, correlated, Name("g"))
    assert term.text == f"{structure}(0 + f | g, hom = TRUE)"
    assert deparse(found.fixed) == "x"
    assert found.names == ("y", "x", "f", "g")


def test_a_structure_without_a_bar_is_a_function():
    found = parse("y ~ diag(x) + (1 | g)")
    assert deparse(found.fixed) == "diag(x)" and len(found.random) == 1


def test_response():
    assert parse("cbind(a, b) ~ x").response == tree("cbind(a, b)")
    assert parse("a/b ~ x").response == tree("a/b")
    assert parse("y ~ x").response == Name("y")


@pytest.mark.parametrize(
    "text, dot",
    [("y ~ .", True), ("y ~ . - x", True), ("y ~ (.)^2 + (1 | g)", True), ("y ~ log(.)", False), ("y ~ .x", False)],
)
def test_uses_dot(text, dot):
    assert parse(text).uses_dot is dot


def test_text_keeps_all_but_outer_space():
    found = parse("  y  ~ x\n  + z \n")
    assert found.text == "y  ~ x\n  + z"
    assert deparse(found.node) == "y ~ x + z"


def test_formulas_compare_copy_and_pickle_as_text():
    found = parse("y ~ x + (1 | g)")
    assert found == parse("y ~ x + (1 | g) ") and found != parse("y ~ x")
    for other in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert other == found and other.node == found.node and other.random == found.random
    with pytest.raises(AttributeError):
        found.text = "y ~ z"


def test_thousands_of_terms():
    columns = [f"x{i}" for i in range(3000)]
    found = parse(f"y ~ {' + '.join(columns)} + (1 | g)")
    assert columns_used(found, ["g", *columns, "y"]) == ["y", *columns, "g"]
    assert parse(deparse(found.node)).names == found.names == copy.deepcopy(found).names


# --- columns ---


def test_columns_in_order_of_first_appearance():
    found = parse("log(y) ~ b + a:b + (1 | g)")
    assert columns_used(found, ["a", "b", "c", "g", "y"]) == ["y", "b", "a", "g"]
    assert columns_used(found, ("y", "g", "c", "b", "a")) == ["y", "b", "a", "g"]


def test_a_dot_needs_all_columns_in_frame_order():
    assert columns_used(parse("y ~ . + (1 | g)"), ["a", "g", "y"]) == ["a", "g", "y"]


def test_constants_of_r_give_way_to_columns():
    found = parse("y ~ T + F + I(pi * x) + x")
    assert columns_used(found, ["y", "x"]) == ["y", "x"]
    assert columns_used(found, ["y", "x", "T", "pi"]) == ["y", "T", "pi", "x"]


def test_a_missing_column_is_shown():
    message = failure(columns_used, parse("Reaction ~ Days + (Dayz | Subject)"), ["Reaction", "Days", "Subject"])
    assert message == (
        "'Dayz' is not a column of the data. Did you mean 'Days'? The columns are: Reaction, Days, Subject.\n"
        "  Reaction ~ Days + (Dayz | Subject)\n"
        "                     ^"
    )


def test_the_caret_skips_functions_and_keywords_of_the_same_name():
    assert culprit(failure(columns_used, parse("y ~ log(x, log = 2) + log"), ["y", "x"])) == "log"


def test_a_function_may_be_passed_to_a_function():
    columns, known = ["y", "x", "g"], {"median", "contr.sum", "log"}.__contains__
    for right in ("ave(x, g, FUN = median)", "C(g, contr.sum)", "C(g, contr = contr.sum)", "stats::C(g, contr.sum)"):
        found = columns_used(parse(f"y ~ {right}"), columns, known)
        assert found == (["y", "x", "g"] if "median" in right else ["y", "g"])
        assert columns_used(parse(f"y ~ {right}"), [*columns, "median", "contr.sum"], known)[-1] in (
            "median",
            "contr.sum",
        )
    for right in (
        "median",
        "log(median)",
        "I(x * median)",
        "ave(x, g, FUN = median) + median",
        "x[median]",
        "(median)",
    ):
        assert culprit(failure(columns_used, parse(f"y ~ {right}"), columns, known)).startswith("median")
    assert culprit(failure(columns_used, parse("y ~ C(g, contr.sun)"), columns, known)).startswith("contr.sun")


@pytest.mark.parametrize("coding", ["poly", "helmert", "sum", "treatment", "SAS"])
def test_a_coding_in_c_is_a_name_whatever_the_columns_are_called(coding):
    for right in (f"C(g, {coding})", f"C(g, contr = {coding})", f"C(g, {coding}, 1)"):
        assert columns_used(parse(f"y ~ {right}"), ["y", "g", coding]) == ["y", "g"]
    assert columns_used(parse(f"y ~ D(g, {coding}) + C({coding})"), ["y", "g", coding]) == ["y", "g", coding]


def test_many_columns_are_not_all_shown():
    message = failure(columns_used, parse("y ~ q"), [f"c{i}" for i in range(40)] + ["y"])
    assert "c11, and 29 more." in message and "c12" not in message


def test_a_dot_inside_a_function_is_a_name():
    assert failure(columns_used, parse("y ~ log(.)"), ["y", "x"]).startswith("'.' is not a column of the data.")


def test_with_a_dot_unknown_names_are_still_refused():
    assert culprit(failure(columns_used, parse("y ~ . - z"), ["y", "x"])) == "z"


def test_require_random():
    require_random(parse("y ~ (1 | g)"))
    message = failure(require_random, parse("y ~ x + I(a | b)"))
    assert message.startswith("There is no random-effects term such as (1 | group). Use Lm for a model without one.")
    assert "y ~ x + I(a | b)" in message


# --- arguments ---


def test_arguments_of_a_call():
    found = parse_arguments("optimizer='Nelder_Mead', optCtrl = list(FtolAbs=1e-8), check.nobs.vs.nlev = \"ignore\"")
    assert {key: deparse(value) for key, value in found.items()} == {
        "optimizer": "'Nelder_Mead'",
        "optCtrl": "list(FtolAbs = 1e-8)",
        "check.nobs.vs.nlev": '"ignore"',
    }
    assert parse_arguments(" \n") == {}
    assert parse_arguments("'a b' = -1, `c` = NULL") == {"a b": tree("-1"), "c": Literal("NULL")}


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
    said = failure(parse_arguments, text)
    assert said.startswith(message)
    assert culprit(said) == rest


def test_arguments_must_be_text():
    assert failure(parse_arguments, {"a": 1}).startswith("R arguments must be a str, got dict.")


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
        ("y ~ `a\\d`", "\\d is no escape in backticks.", "\\d`"),
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
        ("y ~ 2(x)", "What stands before '(' is no function.", "(x)"),
        ("y ~ x + 1 | g + 1 | h", "There is a '|' inside a random-effects term.", "| g + 1 | h"),
        ("y ~ ((1 | g) | h)", "There is a '|' inside a random-effects term.", "| g) | h)"),
    ],
)
def test_formulas_that_are_refused(text, message, rest):
    said = failure(parse, text)
    assert said.startswith(message)
    assert culprit(said) == rest
    assert f"\n  {text}\n" in said


def test_a_formula_must_be_text():
    said = failure(parse, pd.DataFrame({"y": [1]}))
    assert said == "formula must be a str, got DataFrame. The formula comes first: Lmer(formula, data)."
    assert "got NoneType" in failure(parse, None)


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_formula(text):
    assert failure(parse, text).startswith("The formula is empty. A formula has the form")


def test_only_the_line_with_the_culprit_is_shown():
    assert failure(parse, "y ~ a +\n\tb +\n\t* c +\n d").endswith("here.\n   * c +\n   ^")


def test_a_long_line_is_shown_around_the_caret():
    said = failure(parse, f"y ~ {'aaaa + ' * 100}? + {'bbbb + ' * 100}z")
    assert culprit(said).startswith("? + bbbb")
    assert max(map(len, said.split("\n"))) < 115


@pytest.mark.parametrize(
    "deep",
    [
        "(" * 5000 + "x" + ")" * 5000,
        "-" * 5000 + "x",
        "f(" * 400 + "x" + ")" * 400,
        "a" + "^a" * 5000,
        "!" * 99999 + "x",
    ],
)
def test_deep_nesting_is_refused(deep):
    said = failure(parse, f"y ~ {deep}")
    assert said.startswith("The text is nested too deeply to be read.\n")


def test_nesting_as_deep_as_r_allows_is_read():
    assert parse(f"y ~ {'(' * 49}x{')' * 49}").names == ("y", "x")


# --- against R ---

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
said <- function(...) cat(..., sep = "\x1f")
one <- function(e) paste(deparse(e, width.cutoff = 500L, backtick = TRUE), collapse = " ")
shape <- function(e) {
  if (is.call(e)) return(paste0("{", paste(vapply(as.list(e), shape, ""), collapse = " "), "}"))
  if (is.symbol(e)) paste0("<", as.character(e), ">") else one(e)
}
lines <- readLines(file("stdin", encoding = "UTF-8"), encoding = "UTF-8")
half <- length(lines) / 2
for (i in seq_len(half)) {
  f <- as.formula(lines[i])
  bars <- vapply(findbars(f), one, "")
  fixed <- nobars(f)
  said(paste(all.vars(f), collapse = "\x1e"), paste(bars, collapse = "\x1e"), one(fixed[[length(fixed)]]),
       shape(str2lang(lines[i])), identical(str2lang(lines[i]), str2lang(lines[half + i])))
  cat("\n")
}
"""


@pytest.fixture(scope="module")
def r_says():
    """Return R's reading of each formula: variables, random terms, fixed part, tree, and if our text reads alike."""
    assert shutil.which("Rscript"), "this test needs R on the PATH"
    asked = "\n".join([*FORMULAS, *(deparse(parse(text).node) for text in FORMULAS)]) + "\n"
    command = ["Rscript", "--vanilla", "-e", QUESTIONS]
    environment = os.environ | {"LC_ALL": "C.UTF-8"}
    reply = subprocess.run(command, input=asked, capture_output=True, text=True, encoding="utf-8", env=environment)
    assert reply.returncode == 0, reply.stderr
    answers = [line.split("\x1f") for line in reply.stdout.strip("\n").split("\n")]
    assert len(answers) == len(FORMULAS)
    return dict(zip(FORMULAS, answers, strict=True))


def expanded(term):
    """Return the terms that lme4 makes of one: `a/b` and `||` written out."""
    wholes = [term.expression]
    if not term.correlated:
        parts = re.split(r" \+ ", deparse(term.expression))
        first = [] if parts[0] == "0" else ["1"]
        wholes = [tree(part) for part in first + [f"0 + {part}" for part in parts if part not in ("0", "1")]]
    groups = [term.group]
    if isinstance(term.group, Call) and term.group.function == "/":
        (_, outer), (_, inner) = term.group.args
        groups = [Call(":", ((None, inner), (None, outer))), outer]
    return [Call("|", ((None, whole), (None, group))) for whole in wholes for group in groups]


@pytest.mark.parametrize("text", FORMULAS)
def test_variables_are_those_of_r(text, r_says):
    found, theirs = parse(text), set(r_says[text][0].split("\x1e"))
    # all.vars() counts a package before `::`, an element after `$` and the dot, which are no columns.
    assert set(found.names) == theirs - {"splines", "ns", "element", "."}


@pytest.mark.parametrize("text", FORMULAS)
def test_random_terms_are_those_of_lme4(text, r_says):
    theirs = [tree(bar) for bar in r_says[text][1].split("\x1e")]
    assert [term for ours in parse(text).random for term in expanded(ours)] == theirs


@pytest.mark.parametrize("text", FORMULAS)
def test_the_fixed_part_is_that_of_lme4(text, r_says):
    assert deparse(parse(text).fixed).replace(" ", "") == deparse(tree(r_says[text][2])).replace(" ", "")


def shape(node):
    """Write a tree in the form that the R side of these tests writes."""
    if isinstance(node, Name):
        return f"<{node.name}>"
    if isinstance(node, Literal):
        return node.text
    head = f"<{node.function}>" if isinstance(node.function, str) else shape(node.function)
    return "{" + " ".join([head, *(shape(arg) for _, arg in node.args)]) + "}"


@pytest.mark.parametrize("text", FORMULAS)
def test_the_tree_is_that_of_r(text, r_says):
    assert shape(parse(text).node) == r_says[text][3]


@pytest.mark.parametrize("text", FORMULAS)
def test_r_reads_our_text_as_the_same_formula(text, r_says):
    assert r_says[text][4] == "TRUE"
