"""The house: who may import whom, where R is spoken, where a public column is spelled."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import pymer4
from pymer4 import bridge, tables

PACKAGE = Path(pymer4.__file__).parent

# A module imports modules of a lower number only. A new module gets its line here.
LAYERS = {
    "pymer4": 0,
    "pymer4.numerics": 0,
    "pymer4.formulas": 0,
    "pymer4.plotting": 0,
    "pymer4.storage": 0,
    "pymer4.statistics": 0,
    "pymer4.errors": 0,
    "pymer4.interrupts": 0,
    "pymer4.machine": 0,
    "pymer4.stack": 0,
    "pymer4.progress": 0,
    "pymer4.surroundings": 0,
    "pymer4.tables": 0,
    "pymer4.printing": 1,
    "pymer4.plotting.arguments": 1,
    "pymer4.plotting.axes": 1,
    "pymer4.storage.cells": 1,
    "pymer4.storage.frames": 2,
    "pymer4.storage.h5tree": 1,
    "pymer4.storage.h5write": 2,
    "pymer4.storage.pair": 1,
    "pymer4.storage.seal": 1,
    "pymer4.storage.plain": 3,
    "pymer4.storage.unpickle": 1,
    "pymer4.columns": 1,
    "pymer4.numerics.lowess": 1,
    "pymer4.numerics.ties": 0,
    "pymer4.comparison": 1,
    "pymer4.numerics.resample": 1,
    "pymer4.numerics.chunks": 1,
    "pymer4.formulas.syntax": 1,
    "pymer4.bridge": 3,
    "pymer4.crossing": 2,
    "pymer4.formulas.contrasts": 2,
    "pymer4.formulas.factors": 3,
    "pymer4.formulas.grammar": 2,
    "pymer4.plotting.plots": 2,
    "pymer4.plotting.caterpillars": 3,
    "pymer4.plotting.diagnostic_plots": 3,
    "pymer4.plotting.marginal_plots": 3,
    "pymer4.formulas.formula": 3,
    "pymer4.formulas.used": 3.5,
    "pymer4.utils": 3,
    "pymer4.datasets": 4,
    "pymer4.families": 4,
    "pymer4.intake": 4,
    "pymer4.models.base": 4,
    "pymer4.display": 5,
    "pymer4.grid_request": 2,
    "pymer4.numerics.batched": 1,
    "pymer4.numerics.distributions": 2,
    "pymer4.numerics.influence": 2,
    "pymer4.numerics.estimate": 3,
    "pymer4.numerics.basis": 5,
    "pymer4.numerics.inference": 2,
    "pymer4.numerics.overdispersion": 2,
    "pymer4.numerics.quantile_residuals": 3,
    "pymer4.numerics.scoring": 4,
    "pymer4.numerics.generalized": 5,
    "pymer4.numerics.sandwich": 4,
    "pymer4.numerics.grouped": 6,
    "pymer4.numerics.replicates": 6,
    "pymer4.numerics.shuffling": 6,
    "pymer4.numerics.generalized_batch": 6,
    "pymer4.numerics.generalized_replicates": 7,
    "pymer4.numerics.linalg": 2,
    "pymer4.statistics.moments": 1,
    "pymer4.statistics.samples": 2,
    "pymer4.plotting.equivalence_plot": 3,
    "pymer4.statistics.pvalues": 3,
    "pymer4.statistics.bootstrap": 5,
    "pymer4.statistics.permutation": 5,
    "pymer4.statistics.fit_measures": 5,
    "pymer4.simulate": 5,
    "pymer4.statistics.equivalence": 6,
    "pymer4.stats": 7,
    "pymer4.models.convergence": 0,
    "pymer4.models.lmer_diagnosis": 7,
    "pymer4.models.lmer_marginal": 7,
    "pymer4.models.marginal_notes": 5,
    "pymer4.models.outcome_names": 5,
    "pymer4.models.pictures": 5,
    "pymer4.models.diagnosis_plots": 6,
    "pymer4.models.lmer_curves": 7,
    "pymer4.models.lmer_plots": 8,
    "pymer4.models.lmer_predict": 7,
    "pymer4.models.lmer_options": 5,
    "pymer4.models.lmer_resample": 6,
    "pymer4.models.lmer_state": 6,
    "pymer4.models.lmer_tests": 6,
    "pymer4.recoding": 5,
    "pymer4.ranking": 6,
    "pymer4.formulas.scope": 1,
    "pymer4.formulas.formula_errors": 1,
    "pymer4.formulas.terms": 2,
    "pymer4.formulas.evaluation": 7,
    "pymer4.formulas.lookup": 1,
    "pymer4.formulas.whole_columns": 2,
    "pymer4.formulas.variables": 6,
    "pymer4.formulas.design": 8,
    "pymer4.models.lmer": 9,
    "pymer4.numerics.correlations": 1,
    "pymer4.robust": 2,
    "pymer4.formulas.outcomes": 5,
    "pymer4.numerics.group_levels": 7,
    "pymer4.numerics.second_level": 7,
    "pymer4.models.forest": 5,
    "pymer4.models.native": 5,
    "pymer4.regression_rows": 9,
    "pymer4.models.lm2_predict": 8,
    "pymer4.models.lm2": 12,
    "pymer4.models.lm_plots": 10,
    "pymer4.models.lm2_plots": 11,
    "pymer4.models.lm_predict": 10,
    "pymer4.models.lm_resample": 10,
    "pymer4.models.lm_state": 8,
    "pymer4.models.lm_tests": 10,
    "pymer4.models.lm": 11,
    "pymer4.models": 12,
    "pymer4.doctor": 13,
    "pymer4.storage.legacy": 13,
    "pymer4.io": 14,
}
SPEAKERS = re.compile(r"pymer4\.(models\.lmer\w*|io|datasets|doctor)")


def module_name(path: Path) -> str:
    parts = ("pymer4", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
R_FILES = sorted(bridge.resource_path().glob("*.R"))
every_module = pytest.mark.parametrize("module", FILES)
every_r_file = pytest.mark.parametrize("path", R_FILES, ids=lambda path: path.name)


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text("utf-8"))


def home(package: str, name: str) -> str:
    """Return the module that `from package import name` takes the name from."""
    if f"{package}.{name}" in FILES:
        return f"{package}.{name}"
    return pymer4._HOMES.get(name, package) if package == "pymer4" else package


def imports(nodes: ast.AST, module: str) -> set[str]:
    """Return the modules that a part of a module imports, wherever it does."""
    found = set()
    for node in ast.walk(nodes):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = node.module or ""
            if node.level:
                base = module.split(".") if FILES[module].stem == "__init__" else module.split(".")[:-1]
                package = ".".join([*base[: len(base) - node.level + 1], *filter(None, [node.module])])
            found |= {home(package, alias.name) for alias in node.names}
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in (
            "import_module",
            "__import__",
        ):
            found |= {arg.value for arg in node.args if isinstance(arg, ast.Constant)}
    return found


def constants(module: str) -> list[ast.Constant]:
    nodes = list(ast.walk(tree(module)))
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    return [
        node
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
    ]


def strings(module: str) -> list[str]:
    """Return the string constants of a module but for its docstrings, those inside f-strings too."""
    return [node.value for node in constants(module)]


# ------------------------------------------------------------------ 1: imports go down


def test_every_module_has_its_layer():
    assert set(LAYERS) == set(FILES)


@every_module
def test_imports_go_strictly_down(module):
    own = {name for name in imports(tree(module), module) if name.split(".")[0] == "pymer4"}
    lower = {name for name, layer in LAYERS.items() if layer < LAYERS[module]}
    assert own <= lower, f"{module} is of layer {LAYERS[module]}"


def test_the_names_of_the_package_lead_somewhere():
    assert set(pymer4._HOMES.values()) <= set(FILES)
    assert all(hasattr(pymer4, name) for name in pymer4.__all__)


# ------------------------------------------------------------------ 2: who names what


@every_module
def test_only_the_bridge_imports_rpy2(module):
    found = {name for name in imports(tree(module), module) if name.split(".")[0] == "rpy2"}
    assert bool(found) == (module == "pymer4.bridge"), found


@every_module
def test_few_import_the_bridge(module):
    assert "pymer4.bridge" not in imports(tree(module), module) or SPEAKERS.fullmatch(module)


def vocabulary() -> set[str]:
    """Return the public column names that `tables` spells."""
    values = [value for name, value in vars(tables).items() if name.isupper() and not name.startswith("_")]
    return {
        text for value in values for text in ((value,) if isinstance(value, str) else value) if isinstance(text, str)
    }


def answer_keys(module: str) -> set[int]:
    """Return the constants that index an answer of R, whose keys are R's."""
    found = (node for node in ast.walk(tree(module)) if isinstance(node, ast.Subscript))
    return {id(node.slice) for node in found if getattr(node.value, "id", getattr(node.value, "attr", "")) == "value"}


def spelled(module: str) -> set[str]:
    """Return the public column names, and the pieces they are made of, that a module writes out."""
    keys = answer_keys(module)
    texts = {node.value for node in constants(module) if id(node) not in keys}
    return {text for text in texts if text in vocabulary() or re.search(r"(^|\d)(_ci| %)$|^sim_\d*$", text)}


def test_the_vocabulary_is_that_of_the_tables():
    assert {"Estimate", "SE", "DF", "T-stat", "P-val", "Sig", "fits", "residuals"} <= vocabulary()
    assert spelled("pymer4.tables") >= {"Estimate", "_ci", "sim_", " %"}


@every_module
def test_only_tables_spells_a_public_column(module):
    assert module == "pymer4.tables" or not spelled(module)


# ------------------------------------------------------------------ 3: imports wake nobody


@pytest.mark.parametrize(
    "code, sleeping",
    [
        ("import pymer4", "rpy2 matplotlib joblib scipy"),
        ("import pymer4; [getattr(pymer4, name) for name in pymer4.__all__]", "rpy2 matplotlib joblib scipy"),
        ("import pymer4.doctor, pymer4.models", "rpy2 matplotlib joblib scipy"),
    ],
    ids=["package", "names", "modules"],
)
def test_an_import_wakes_nobody(code, sleeping):
    told = f"import sys\n{code}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert not set(sleeping.split()) & set(done.stdout.split())


@every_module
def test_heavy_packages_are_imported_on_need(module):
    """At the top of a module, types apart, there is nothing that takes long or that a machine may lack."""
    top = [node for node in tree(module).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    found = {name.split(".")[0] for node in top for name in imports(ast.Module([node], []), module)}
    assert not found & {"rpy2", "matplotlib", "joblib", "tqdm"}


# ------------------------------------------------------------------ 4: two languages, two kinds of file

_R_CODE = re.compile(
    r"[\w)]\s*<<?-\s*[\w(]|\b[A-Za-z][\w.]*:::?[A-Za-z]|\bfunction\s*\(|\blibrary\(|%>%|\bset\.seed\(|\bdo\.call\(|\bas\.\w+\(|\bc\(\S"
)
_PYTHON = r"python|rpy2|reticulate|numpy|pandas|patsy|pymer4|joblib|py_\w+|None|True|False"


@every_module
def test_no_python_file_holds_r_code(module):
    # The remedies of `machine` are commands for a shell, some of which start R.
    held = [text for text in strings(module) if _R_CODE.search(text)]
    assert module == "pymer4.machine" or not held


@every_module
def test_no_python_file_has_r_evaluate_text(module):
    called = {getattr(node.func, "attr", "") for node in ast.walk(tree(module)) if isinstance(node, ast.Call)}
    assert not called & {"evalr", "evalr_expr", "parse_r", "r"}


def r_code(path: Path) -> str:
    """Return an R file without its comments; a hash in a string is no comment."""
    return re.sub(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)|#[^\n]*""", r"\1", path.read_text("utf-8"))


@every_r_file
def test_no_r_file_knows_python(path):
    assert not re.findall(rf"(?<![\w.])(?:{_PYTHON})(?![\w.])", r_code(path))


@every_r_file
def test_r_files_define_functions_and_do_nothing_else(path):
    """They are sourced into one environment: nothing is assigned outside it, attached, or printed."""
    code = r_code(path)
    assert not re.findall(r"\b(?:library|require|attach|source|print|cat)\(|assign\([^)]*\.GlobalEnv", code)
    top = [
        line
        for line in re.sub(r"(?s)(\{.*?^\}|\([^\n]*\n.*?^\))", "", code, flags=re.M).splitlines()
        if line[:1].strip()
    ]
    assert all(re.match(r"[\w.]+ <- |[})]", line) for line in top), top


# ------------------------------------------------------------------ the verbs


@cache
def r_functions() -> dict[str, dict[str, bool]]:
    """Return R function name to argument name to whether it has a default."""
    found = {}
    for path in R_FILES:
        code = r_code(path)
        for match in re.finditer(r"^([\w.]+) <- function\(", code, re.MULTILINE):
            assert match[1] not in found, f"{match[1]} is defined twice"
            halves = (argument.partition("=") for argument in arguments(code, match.end()))
            found[match[1]] = {name.strip(): bool(default) for name, _, default in halves}
    return found


def arguments(code: str, start: int) -> list[str]:
    """Return the arguments of an R function, whose opening parenthesis ends at `start`."""
    depth, found = 1, [""]
    for char in code[start:]:
        depth += (char in "([{") - (char in ")]}")
        if depth == 0:
            break
        if char == "," and depth == 1:
            found.append("")
        else:
            found[-1] += char
    return [argument for argument in found if argument.strip()]


def questions() -> list:
    """Return each `bridge.call("verb", name=...)` of the package: module, line, verb, argument names."""
    found = []
    for module in FILES:
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("bridge.call", "call"):
                verb = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
                names = [keyword.arg for keyword in node.keywords]
                found.append(pytest.param(verb, names, id=f"{module}:{node.lineno}"))
    return found


def test_there_are_verbs_and_questions():
    assert {"fit_mixed", "echo", "run_verb"} <= set(r_functions())
    assert r_functions()["run_verb"] == {"verb": False, "arguments": False}
    assert len(questions()) >= 10


@pytest.mark.parametrize("verb, names", questions())
def test_every_question_is_one_that_r_answers(verb, names):
    assert verb in r_functions(), "the verb has to be spelled where it is asked"
    takes = r_functions()[verb]
    assert None in names or {name for name, has_default in takes.items() if not has_default} <= set(names)
    assert set(filter(None, names)) <= set(takes)


@pytest.mark.parametrize("name", r_functions())
def test_no_verb_hides_a_function_of_r(name):
    """A file's function called `t` or `fitted` would stand before R's own for all the others."""
    assert name not in {"t", "c", "fitted", "residuals", "predict", "update", "confint", "vcov", "df", "data", "scale"}
