"""Questions to R: to a process of its own, arrays in and out to the last bit, or to the one that holds a model."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

_READ = r"""
folder <- commandArgs(TRUE)[1]
index <- read.table(file.path(folder, "index"), colClasses = "character")
for (k in seq_len(nrow(index))) {
  dims <- as.integer(strsplit(index[k, 2], ",")[[1]])
  values <- readBin(file.path(folder, index[k, 1]), "double", prod(dims))
  assign(index[k, 1], if (length(dims) == 2) matrix(values, dims[1], dims[2]) else values)
}
answer <- list()
"""
_WRITE = r"""
for (name in names(answer)) {
  values <- answer[[name]]
  dims <- if (is.null(dim(values))) length(values) else dim(values)
  writeBin(as.double(values), file.path(folder, paste0("out-", name)))
  cat(name, paste(dims, collapse = ","), "\n", file = file.path(folder, "answer"), append = TRUE)
}
"""


class _Interface:
    """rpy2's low-level interface, imported on first use: a machine without R reads the files of tests all the same."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module("rpy2.rinterface"), name)


rinterface = _Interface()

# What is compared with reads options of R's that a start-up file may have set.
_AS_R_STARTS = """function(judge) function(...) {
  users <- options(
    contrasts = c("contr.treatment", "contr.poly"), na.action = "na.omit", digits = 7, scipen = 0, warn = 0,
    lmerControl = NULL, glmerControl = NULL, emmeans = NULL
  )
  on.exit(options(users))
  judge(...)
}"""


def inside(code: str, *given: Any) -> Any:
    """Return what an R function says of R objects, such as `model_obj`, in this process; as plain values."""
    from pymer4.rbridge import bridge

    judge = rinterface.evalr(_AS_R_STARTS)(rinterface.evalr(code))
    return bridge._started().values.from_r(judge(*given))


def ask(script: str, **arrays: np.ndarray) -> dict[str, np.ndarray]:
    """Return what a script puts into the list `answer`, under its names.

    Args:
        script: R code that finds the arrays under their names.
        **arrays: numbers of one or two dimensions.
    """
    assert shutil.which("Rscript"), "this test needs R on the PATH"
    with tempfile.TemporaryDirectory() as place:
        folder, lines = Path(place), []
        for name, values in arrays.items():
            values = np.asarray(values, dtype=float)
            (folder / name).write_bytes(values.tobytes(order="F"))
            lines.append(f"{name} {','.join(map(str, values.shape))}")
        (folder / "index").write_text("\n".join(lines) + "\n")
        (folder / "script.R").write_text(_READ + script + _WRITE)
        command = ["Rscript", "--vanilla", str(folder / "script.R"), str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found = {}
        for line in (folder / "answer").read_text().splitlines():
            name, dims = line.split()
            shape = tuple(int(size) for size in dims.split(","))
            found[name] = np.frombuffer((folder / f"out-{name}").read_bytes()).reshape(shape, order="F")
        return found


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    """Return the largest difference, as a share of the largest number wanted."""
    found, wanted = np.asarray(found, dtype=float), np.asarray(wanted, dtype=float)
    assert found.shape == wanted.shape, (found.shape, wanted.shape)
    assert (np.isfinite(found) == np.isfinite(wanted)).all()
    there = np.isfinite(wanted)
    return float(np.abs(found - wanted)[there].max(initial=0.0) / max(np.abs(wanted[there]).max(initial=0.0), 1e-300))


def each(found: np.ndarray, wanted: np.ndarray) -> float:
    """Return the largest of the relative differences of single numbers."""
    found, wanted = np.asarray(found, dtype=float), np.asarray(wanted, dtype=float)
    assert found.shape == wanted.shape, (found.shape, wanted.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = np.where(found == wanted, 0.0, np.abs(found - wanted) / np.abs(wanted))
    return float(gap.max(initial=0.0))
