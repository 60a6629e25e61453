"""What tables of marginal means say of themselves: attributes, notes, and both tables as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from pymer4.models.printing import block

Frames = tuple[pd.DataFrame, pd.DataFrame | None]


def tell(table: pd.DataFrame, found: Mapping[str, Any], notes: Sequence[str], more: Mapping[str, Any]) -> pd.DataFrame:
    """Return a table that says in `attrs` what R found of it, with notes that come before R's, and more."""
    table.attrs |= {"estimate": found["name"], "scale": found["scale"], "adjust": found["adjust"]}
    table.attrs |= {"notes": [*notes, *found["notes"]], **more}
    return table


def of_grid(found: Mapping[str, Any], slopes: bool, response: bool) -> list[str]:
    """Return what a grid takes for the offset where nobody asked for it, and the scale of slopes, or one not left."""
    offset = found["offset"]  # values of its variables that stand at one; the mean of one without a name
    at = ", ".join(f"{name} = {value:.6g}" for name, value in (offset["values"] or {}).items())
    notes = [f"The offset counts at the mean, {at}; at= sets it."] if at else []
    if offset["mean"] is not None:
        notes.append(f"The offset counts as its mean, {offset['mean']:.6g}.")
    if slopes:
        notes.append(f"Slopes are on the {found['estimates']['scale']} scale.")
    if response and not found["undone"]:
        scale = f"the link scale, that of {found['outcome']}"
        notes.append(f"Estimates are on {scale}: no inverse is known that gives the raw outcomes back.")
    return notes


def of_columns(table: pd.DataFrame) -> list[str]:
    """Return notes on variables whose column has another name, since the table has one of that name."""
    renamed = table.attrs.get("columns", {}).items()
    return [f"{name!r} is a column of the table's own: the variable is in {column!r}." for name, column in renamed]


def printed(frames: Frames, marginal: Sequence[str], grouping: Sequence[str], one_scale: bool) -> str:
    """Return both tables as text, with our notes and R's; scales where there is more than the outcome's."""
    estimates, contrasts = frames
    what = "slopes" if "variable" in estimates.attrs else "means"
    within = f" at each level of {', '.join(grouping)}" if grouping else ""
    scale = "" if one_scale else f" ({estimates.attrs['scale']} scale)"
    parts = [f"Marginal {what} of {', '.join(marginal)}{within}{scale}:", block(estimates)]
    if contrasts is not None:
        scale = "" if one_scale else f"{contrasts.attrs['scale']} scale; "
        parts += ["", f"Pairwise differences ({scale}adjustment: {contrasts.attrs['adjust']}):", block(contrasts)]
    notes = [note for frame in frames if frame is not None for note in frame.attrs["notes"]]
    said = [text.strip().removeprefix("NOTE: ") for text in estimates.attrs["messages"]]
    return "\n".join([*parts, "", *(f"Note: {note.strip()}" for note in dict.fromkeys([*said, *notes]))])
