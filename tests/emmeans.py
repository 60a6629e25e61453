"""The wire to R's emmeans: what it says of a regression that R fits to the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from against_r import inside, rinterface

_TOLD = """function(data, fit, asked, method, adjust, type) {
  suppressWarnings(suppressMessages({
    for (f in c("bs", "ns")) assign(f, getExportedValue("splines", f))
    for (f in c("emmeans", "emtrends", "contrast", "joint_tests")) assign(f, getExportedValue("emmeans", f))
    m <- eval(parse(text = fit))
    found <- eval(parse(text = asked))
    told <- function(x) {
      s <- summary(x, infer = TRUE, type = type)
      columns <- c(attr(s, "estName"), attr(s, "clNames"), "SE", "df", intersect(c("t.ratio", "z.ratio"), names(s)))
      labels <- as.data.frame(s)[setdiff(names(s), c(columns, "p.value", "null", "1"))]
      list(
        values = unname(as.matrix(as.data.frame(s)[c(columns, "p.value")])), labels = lapply(labels, as.character),
        name = attr(s, "estName"), adjust = attr(s, "adjust")
      )
    }
    if (is.null(method)) {
      columns <- as.data.frame(found)[c("df1", "df2", "F.ratio", "p.value")]
      list(terms = as.character(found[["model term"]]), values = unname(as.matrix(columns)))
    } else if (identical(method, "none")) {
      list(told(found))
    } else {
      list(told(found), told(contrast(found, method, adjust = adjust)))
    }
  }))
}"""


def said(
    data: pd.DataFrame, fit: str, asked: str, method: Any = "none", adjust: str = "none", type: str = "link"
) -> Any:
    """Return what emmeans says: means or slopes, and contrasts by a method other than none; joint tests for None."""
    from pymer4.rbridge import bridge

    with bridge._lock:
        values = bridge._started().values
        given = map(values.to_r, (data, fit, asked, method, adjust, type))
        return values.from_r(rinterface.evalr(_TOLD)(*given))


@cache
def leaves_out() -> bool:
    """Whether this emmeans leaves out of a family of tests what can't be estimated; where it does, joint tests stop."""
    return bool(inside("function() packageVersion('emmeans') >= '1.9'")[0])


def spelled(value: Any) -> str:
    """Return a value as R's code spells it."""
    if isinstance(value, Mapping):
        return f"list({', '.join(f'{name} = {spelled(held)}' for name, held in value.items())})"
    if isinstance(value, (list, tuple)):
        return f"c({', '.join(map(spelled, value))})"
    return {True: "TRUE", False: "FALSE"}[value] if isinstance(value, bool) else repr(value)


def asked(specs: Any, by: Any = None, at: Any = None, var: str | None = None, type: str = "link") -> str:
    """Return the question of `emmeans()`, or of `emtrends()` in `var`, as R's code."""
    more = "".join(f", {name} = {spelled(value)}" for name, value in (("by", by), ("at", at)) if value is not None)
    if var is None:
        return f"emmeans(m, {spelled(specs)}{more})"
    regrid = ", regrid = 'response'" if type == "response" else ""
    return f"emtrends(m, {'~ 1' if specs is None else spelled(specs)}, var = {spelled(var)}{more}{regrid})"


def compare(found: pd.DataFrame, told: Mapping[str, Any], rtol: float = 1e-7, limits: float = 1e-7) -> None:
    """Compare a table with what emmeans says; p to 10 `rtol`, limits as a share of their reach."""
    statistic = [name for name in ("T-stat", "Z-stat", "P-val") if name in found]
    ours = found[["Estimate", *found.columns[[c.endswith("_ci") for c in found.columns]], "SE", "DF", *statistic]]
    ours, theirs = ours.to_numpy(dtype=float, copy=True), np.asarray(told["values"], dtype=float)
    theirs = theirs[:, : ours.shape[1]]
    scale = np.nanmax(np.abs(theirs[:, [0, 3]]), initial=1e-300)
    np.testing.assert_allclose(ours[:, [0, 3]], theirs[:, [0, 3]], rtol=rtol, atol=rtol * scale)
    if np.isnan(theirs[:, 0]).any() and not leaves_out():
        ours[:, [1, 2, *range(6, ours.shape[1])]] = theirs[:, [1, 2, *range(6, ours.shape[1])]]
    np.testing.assert_allclose(ours[:, 4:], theirs[:, 4:], rtol=10 * rtol, atol=10 * rtol)
    reach = theirs[:, [2]] - theirs[:, [1]]
    np.testing.assert_allclose(ours[:, 1:3] / reach, theirs[:, 1:3] / reach, rtol=limits, atol=limits)
    for name, labels in told["labels"].items():
        own = [str(value) for value in found["Contrast" if name == "contrast" else name]]
        assert (
            own == list(labels)
            or [text.upper() for text in own] == list(labels)
            or [*map(float, own)] == [*map(float, labels)]
        )
    assert [found.attrs["adjust"]] == list(told["adjust"])
    assert found.attrs["estimate"] in (*told["name"], "trend")
