"""The site: Sphinx reads the pages, and MyST-NB runs the code of each in a process and an empty folder of its own."""

from __future__ import annotations

import os
import random
import re
import shutil
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT), str(DOCS)]

import api  # noqa: E402
from sphinx.domains.python import PyObject  # noqa: E402

import pymer4  # noqa: E402

# ------------------------------------------------------------------ the processes that run pages

# They import the package from this tree, and what the tables of agreement are made with from docs/reference.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(ROOT), str(DOCS / "reference"), *filter(None, [os.environ.get("PYTHONPATH")])]
)
# The Python that builds the site runs its pages, whatever kernels the user has.
os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
# Pages run side by side: a thread each.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# A page's process ends before it gains what R takes to compile functions.
os.environ.setdefault("R_ENABLE_JIT", "0")
_PROFILE = DOCS / "_build" / "ipython" / "profile_default"
_PROFILE.mkdir(parents=True, exist_ok=True)
shutil.copy(DOCS / "kernel.py", _PROFILE / "ipython_kernel_config.py")
os.environ["IPYTHONDIR"] = str(_PROFILE.parent)

# ------------------------------------------------------------------ the project

project = "pymer4"
author = "pymer4 developers"
copyright = author
release = version = pymer4.__version__
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build", "**/.ipynb_checkpoints"]
# Code that was not run is shown in plain black.
suppress_warnings = ["myst-nb.lexer"]

# ------------------------------------------------------------------ pages

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "attrs_block", "attrs_inline"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_timeout = 1200
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True

# ONLY="guide/lm*" runs those pages alone, for a look while one is written.
if os.environ.get("ONLY"):
    _only = os.environ["ONLY"].split()
    nb_execution_excludepatterns = [
        name
        for path in sorted(DOCS.rglob("*.md"))
        if not any((name := path.relative_to(DOCS).as_posix()) == x or path.match(x) for x in _only)
    ]

# ------------------------------------------------------------------ docstrings

api.write(DOCS / "reference" / "api")
default_role = "code"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autosummary_generate = False
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
python_use_unqualified_type_names = True
python_display_short_literal_types = True
toc_object_entries_show_parents = "hide"

# napoleon writes attributes as variables.
next(field for field in PyObject.doc_field_types if field.name == "variable").label = "Attributes"

# ------------------------------------------------------------------ looks

html_theme = "pydata_sphinx_theme"
html_title = "pymer4"
html_static_path = ["_static"]
html_css_files = ["site.css", "beside.css"]
html_show_sourcelink = False
html_theme_options = {
    "header_links_before_dropdown": 8,
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": True,
    "navigation_with_keys": False,
}
html_sidebars = {"index": []}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_exclude = ".linenos, .gp, .go"

# ------------------------------------------------------------------ links to other sites: `make docs-links`

linkcheck_timeout = 20
linkcheck_retries = 2
linkcheck_workers = 4
linkcheck_anchors = False


def keep_underscores(app, what, name, value, options, lines):
    """Keep the last letter of an attribute such as `factors_prev_`, which would make it a link."""
    lines[:] = [re.sub(r"^(:(?:ivar|vartype) \w*)_:", r"\1\\_:", line) for line in lines]


# ------------------------------------------------------------------ the work, spread over processes


def shuffle(app, env, names):
    """Mix the pages that take long with those that run nothing: Sphinx cuts this list into lots."""
    random.Random(1).shuffle(names)


def setup(app):
    """Follow napoleon, which turns the headings of docstrings into fields."""
    app.connect("autodoc-process-docstring", keep_underscores, priority=600)
    app.connect("env-before-read-docs", shuffle)
