"""The pages of reference/api, a class or a module each, from the public names that the package has."""

from __future__ import annotations

import importlib
from pathlib import Path

import pymer4

CLASSES = ("Lmer", "Lm", "Lm2")
MODULES = {
    "datasets": "Sample data.",
    "io": "Models in files.",
    "stats": "Tests, effect sizes, p-values.",
    "simulate": "Data from models that are known.",
    "resampling": "Bootstrap, permutation and folds on arrays.",
    "sklearn": "The models as estimators of scikit-learn.",
    "utils": "Contrasts, matrices, tables.",
    "doctor": "What is installed, and what fixes it.",
    "errors": "What is raised, and what is warned of.",
}
# The first heading that takes a method, by how its name begins, has it.
METHODS = {
    "Fit": ("fit", "allfit", "convergence"),
    "Pictures": ("plot",),
    "Tables, texts and scripts": ("to_", "summary", "report"),
    "Tests and limits": ("anova", "confint", "infer", "joint_tests", "ranova", "test"),
    "Means, slopes and contrasts": ("emmeans", "emtrends", "post_hoc"),
    "Predictions and new outcomes": ("predict", "simulate"),
    "Parts of the fit": ("",),
}


def write(folder: Path) -> None:
    """Write the pages; one that would say the same stays untouched, so that it is not read again."""
    loose = _loose()
    pages = {name: _class_page(name) for name in CLASSES} | {name: _module_page(name) for name in MODULES}
    pages["models"] = "\n".join([*_title("Several models"), *(_entry("function", name) for name in loose)])
    pages["model"] = "\n".join([*_title("What every model has"), _entry("class", "pymer4.models.base.Model")])
    pages["index"] = _index(loose)
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*.rst"):
        if path.stem not in pages:
            path.unlink()
    for name, text in pages.items():
        path = folder / f"{name}.rst"
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


def _loose() -> list[str]:
    """Return the public functions of the package that no documented module has."""
    housed = {name for module in MODULES for name in importlib.import_module(f"pymer4.{module}").__all__}
    return [name for name in pymer4.__all__ if name not in housed and name not in (*CLASSES, "__version__")]


def _title(text: str) -> list[str]:
    return [text, "=" * len(text), "", ".. currentmodule:: pymer4", ""]


def _entry(kind: str, name: str, *options: str) -> str:
    return "\n".join([f".. auto{kind}:: {name}", *(f"   :{option}:" for option in options), ""])


def _summary(names: list[str]) -> list[str]:
    return [".. autosummary::", "   :nosignatures:", "", *(f"   {name}" for name in names), ""]


def _class_page(name: str) -> str:
    members = [member for member in dir(getattr(pymer4, name)) if not member.startswith("_")]
    lines = [*_title(name), _entry("class", name, "no-members"), ""]
    groups: dict[str, list[str]] = {heading: [] for heading in METHODS}
    for member in members:
        groups[next(heading for heading, starts in METHODS.items() if member.startswith(starts))].append(member)
    for heading, found in groups.items():
        if found:
            lines += [heading, "-" * len(heading), "", *_summary([f"{name}.{member}" for member in found])]
            lines += [_member(name, member) for member in found]
    return "\n".join(lines)


def _member(name: str, member: str) -> str:
    kind = "method" if callable(getattr(getattr(pymer4, name), member)) else "property"
    return _entry(kind, f"{name}.{member}")


def _module_page(name: str) -> str:
    module = importlib.import_module(f"pymer4.{name}")
    names = list(module.__all__)
    lines = [*_title(f"pymer4.{name}"), _entry("module", f"pymer4.{name}", "no-members")]
    lines[3] = f".. currentmodule:: pymer4.{name}"
    lines += [f".. currentmodule:: pymer4.{name}", "", *_summary(names)]
    return "\n".join([*lines, *(_module_entry(module, member) for member in names)])


def _module_entry(module: object, member: str) -> str:
    value = getattr(module, member)
    if isinstance(value, type):
        is_error = issubclass(value, BaseException)
        return _entry(*(("exception", member, "show-inheritance") if is_error else ("class", member, "members")))
    return _entry("function" if callable(value) else "data", member)


def _index(loose: list[str]) -> str:
    rows = [f"   * - :doc:`{name}`\n     - {text}" for name, text in MODULES.items()]
    return "\n".join(
        [
            *_title("Every public name"),
            "Models",
            "------",
            "",
            *_summary([*CLASSES, *loose]),
            "Modules",
            "-------",
            "",
            ".. list-table::",
            "   :widths: auto",
            "",
            *rows,
            "",
            ".. toctree::",
            "   :hidden:",
            "",
            *(f"   {name}" for name in (*CLASSES, "model", "models", *MODULES)),
            "",
        ]
    )
