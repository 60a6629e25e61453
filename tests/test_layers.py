"""The house: who may import whom, where R is spoken, where a public column is spelled.

`python tests/test_layers.py` prints the rooms: files, lines, and how many imports go to which others.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import pymer4
from pymer4 import tables
from pymer4.rbridge import bridge

PACKAGE = Path(pymer4.__file__).parent

# A module imports what lies in rooms of a lower rank, or beside it in its own room, without a circle. Files at the top
# of the package that have no rank here are the names that users import: they are above all rooms.
RANKS = {"errors": 0, "tables": 0, "work": 0, "fit": 1, "data": 2, "plots": 2, "infer": 3, "rbridge": 3, "models": 4}
RANKS |= {"papers": 1, "estimators": 5, "statistics": 5, "storage": 5}
_TOP = 6
SPEAKERS = re.compile(r"pymer4\.(models\.(lmer\w*|marginal)|io|datasets|doctor|rbridge\.\w+)")


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
        elif isinstance(node, ast.Call) and called(node) in ("import_module", "__import__"):
            found |= {arg.value for arg in node.args if isinstance(arg, ast.Constant)}
    return found


def called(node: ast.Call) -> str:
    """Return the last name of what is called."""
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def strings(module: str) -> list[ast.Constant]:
    """Return the string constants of a module but for its docstrings, those inside f-strings too."""
    nodes = list(ast.walk(tree(module)))
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    constants = (node for node in nodes if isinstance(node, ast.Constant) and id(node) not in docstrings)
    return [node for node in constants if isinstance(node.value, str)]


# ------------------------------------------------------------------ 1: imports go down


def room(module: str) -> str:
    """Return the folder of the package that a module is in, or its own name at the top."""
    return module.split(".")[1] if "." in module else ""


def rank(module: str) -> int:
    return RANKS.get(room(module), _TOP)


def are_neighbours(one: str, other: str) -> bool:
    """Whether two modules lie in one folder, that of the package included, or are the package and a module in it."""
    return room(one) == room(other) or {one.count("."), other.count(".")} <= {0, 1}


@cache
def edges() -> dict[str, set[str]]:
    """Return what each module of the package imports of it. The package itself loads names on first use only."""
    return {m: {n for n in imports(tree(m), m) if n.split(".")[0] == "pymer4"} - {"pymer4"} for m in FILES}


def test_every_ranked_room_is_there():
    assert set(RANKS) <= {room(module) for module in FILES}


@every_module
def test_imports_go_down_or_stay_in_the_room(module):
    up = {n for n in edges()[module] if rank(n) >= rank(module) and not are_neighbours(module, n)}
    assert not up, f"{module} is of rank {rank(module)}"


def test_no_import_goes_round_in_a_circle():
    assert set(TopologicalSorter(edges()).static_order()) >= set(FILES) - {"pymer4"}


def test_models_do_not_import_one_another():
    classes = {"pymer4.models.lm", "pymer4.models.lm2", "pymer4.models.lmer"}
    assert not any(edges()[one] & classes for one in classes)


@every_module
def test_numbers_know_no_pandas(module):
    assert room(module) != "fit" or "pandas" not in {n.split(".")[0] for n in imports(tree(module), module)}


def lines(path: Path) -> int:
    return len(path.read_text("utf-8").splitlines())


def test_no_file_is_long():
    paths = [*FILES.values(), *R_FILES, *Path(__file__).parent.rglob("*.py")]
    assert {path.name: lines(path) for path in paths if lines(path) > 350} == {}


def test_no_two_paths_differ_by_case_alone():
    """On macOS and Windows they would be one; the R files lie in `R` inside an installed package."""
    inside = [path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*") if "__pycache__" not in path.parts]
    paths = {f"{'/'.join(path.split('/')[:n])}" for path in inside for n in range(1, path.count("/") + 2)}
    installed = paths | {"R"} | {f"R/{path.name}" for path in R_FILES}
    assert len({path.lower() for path in installed}) == len(installed)


def test_the_names_of_the_package_lead_somewhere():
    assert set(pymer4._HOMES.values()) <= set(FILES)
    assert all(hasattr(pymer4, name) for name in pymer4.__all__)


# ------------------------------------------------------------------ 2: who names what


@every_module
def test_only_the_bridge_folder_imports_rpy2(module):
    found = {name for name in imports(tree(module), module) if name.split(".")[0] == "rpy2"}
    assert bool(found) == (module == "pymer4.rbridge.start"), found


@every_module
def test_few_import_the_bridge(module):
    assert "pymer4.rbridge.bridge" not in imports(tree(module), module) or SPEAKERS.fullmatch(module)


def vocabulary() -> set[str]:
    """Return the public column names that `tables` spells."""
    values = [value for name, value in vars(tables).items() if name.isupper() and not name.startswith("_")]
    texts = [text for value in values for text in ((value,) if isinstance(value, str) else value)]
    return {text for text in texts if isinstance(text, str)}


def answer_keys(module: str) -> set[int]:
    """Return the constants that index an answer of R, whose keys are R's."""
    found = (node for node in ast.walk(tree(module)) if isinstance(node, ast.Subscript))
    return {id(node.slice) for node in found if getattr(node.value, "id", getattr(node.value, "attr", "")) == "value"}


def spelled(module: str) -> set[str]:
    """Return the public column names, and the pieces they are made of, that a module writes out."""
    keys = answer_keys(module)
    texts = {node.value for node in strings(module) if id(node) not in keys}
    return {text for text in texts if text in vocabulary() or re.search(r"(^|\d)(_ci| %)$|^sim_\d*$", text)}


def test_the_vocabulary_is_that_of_the_tables():
    assert {"Estimate", "SE", "DF", "T-stat", "P-val", "Sig", "fits", "residuals"} <= vocabulary()
    assert spelled("pymer4.tables") >= {"Estimate", "_ci", "sim_", " %"}


@every_module
def test_only_tables_spells_a_public_column(module):
    assert module == "pymer4.tables" or not spelled(module)


# ------------------------------------------------------------------ 3: imports wake nobody


def test_an_import_wakes_nobody():
    code = "import sys, pymer4.doctor, pymer4.models; [getattr(pymer4, name) for name in pymer4.__all__]"
    told = f"{code}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    heavy = {"rpy2", "matplotlib", "joblib", "scipy", "patsy", "great_tables", "docx", "sklearn", "marginaleffects"}
    heavy |= {"narwhals", "polars"}
    assert not heavy & set(done.stdout.split())


@every_module
def test_heavy_packages_are_imported_on_need(module):
    """At the top of a module, types apart, there is nothing that takes long or that a machine may lack."""
    top = [node for node in tree(module).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    found = {name.split(".")[0] for node in top for name in imports(ast.Module([node], []), module)}
    heavy = {"rpy2", "matplotlib", "joblib", "tqdm", "great_tables", "docx", "marginaleffects", "polars", "narwhals"}
    assert not found & (heavy if room(module) in ("estimators", "sklearn") else heavy | {"sklearn"})


# ------------------------------------------------------------------ 4: two languages, two kinds of file

_R_CODE = re.compile(
    r"[\w)]\s*<<?-\s*[\w(]|\b[A-Za-z][\w.]*:::?[A-Za-z]|\bfunction\s*\(|\blibrary\(|%>%|\bset\.seed\(|\bdo\.call\(|\bas\.\w+\(|\bc\(\S"
)
_PYTHON = r"python|rpy2|reticulate|numpy|pandas|patsy|pymer4|joblib|py_\w+|None|True|False"


@every_module
def test_no_python_file_holds_r_code(module):
    # Some commands for a shell start R.
    held = [node.value for node in strings(module) if _R_CODE.search(node.value)]
    assert module == "pymer4.rbridge.commands" or not held


@every_module
def test_no_python_file_has_r_evaluate_text(module):
    asked = {called(node) for node in ast.walk(tree(module)) if isinstance(node, ast.Call)}
    assert not asked & {"evalr", "evalr_expr", "parse_r", "r"}


def r_code(path: Path) -> str:
    """Return an R file without its comments; a hash in a string is no comment."""
    return re.sub(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)|#[^\n]*""", r"\1", path.read_text("utf-8"))


@every_r_file
def test_no_r_file_knows_python(path):
    assert not re.findall(rf"(?<![\w.])(?:{_PYTHON})(?![\w.])", r_code(path))


def test_a_name_stands_for_one_thing_in_r():
    """The files share one environment, where a later definition would take the place of an earlier one."""
    names = [name for path in R_FILES for name in re.findall(r"^([\w.]+) <- ", r_code(path), flags=re.M)]
    assert len(names) > 300 and sorted(names) == sorted(set(names))


@every_r_file
def test_r_files_define_functions_and_do_nothing_else(path):
    """They are sourced into one environment: nothing is assigned outside it, attached, or printed."""
    code = r_code(path)
    assert not re.findall(r"\b(?:library|require|attach|source|print|cat)\(|assign\([^)]*\.GlobalEnv", code)
    outside = re.sub(r"(?s)(\{.*?^\}|\([^\n]*\n.*?^\))", "", code, flags=re.M)
    top = [line for line in outside.splitlines() if line[:1].strip()]
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


# ------------------------------------------------------------------ the rooms, for a report


def report() -> str:
    """Return the files and lines of each room, and how many imports go to which others."""
    ways = Counter((room(m), room(n)) for m, found in edges().items() for n in found if room(m) != room(n))
    rows = [f"{'rank':<6}{'room':<12}{'files':>6}{'lines':>8}  imports"]
    for name in sorted({room(module) for module in FILES}, key=lambda one: (RANKS.get(one, _TOP), one)):
        own = [path for module, path in FILES.items() if room(module) == name]
        out = ", ".join(f"{other} {n}" for (here, other), n in sorted(ways.items()) if here == name)
        size = f"{len(own):>6}{sum(map(lines, own)):>8}"
        rows.append(f"{RANKS.get(name, _TOP):<6}{name or 'pymer4':<12}{size}  {out}".rstrip())
    total = f"{len(FILES)} files, {sum(map(lines, FILES.values()))} lines"
    return "\n".join([*rows, f"{total}, {len(ways)} ways between rooms, {sum(ways.values())} imports"])


if __name__ == "__main__":
    print(report())
