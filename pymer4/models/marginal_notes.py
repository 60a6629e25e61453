"""What tables of marginal means say of themselves: attributes, notes, and both tables as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from pymer4.models.printing import block

Frames = tuple[pd.DataFrame, pd.DataFrame | None]


def told(
    table: pd.DataFrame, found: Mapping[str, Any], more: Mapping[str, Any], notes: Sequence[str] = ()
) -> pd.DataFrame:
    """Return a table that says in `attrs` what it is and how it was made.

    Args:
        table: estimates or contrasts; it is changed.
        found: what R says of it: name, scale, adjust and notes.
        more: what else is to be said.
        notes: notes that come before those of R.
    """
    table.attrs |= {"estimate": found["name"], "scale": found["scale"], "adjust": found["adjust"]}
    table.attrs |= {"notes": [*notes, *found["notes"]], **more}
    return table


def of_offset(taken: Mapping[str, Any]) -> list[str]:
    """Return notes on what a grid takes for the offset where nobody asked for it.

    Args:
        taken: `values`, the variables of the offset that stand at one value; `mean`, that of an offset without a name.
    """
    at = ", ".join(f"{name} = {value:.6g}" for name, value in (taken["values"] or {}).items())
    notes = [f"The offset counts at the mean, {at}; at= sets it."] if at else []
    if taken["mean"] is not None:
        notes.append(f"The offset counts as its mean, {taken['mean']:.6g}.")
    return notes


def of_columns(table: pd.DataFrame) -> list[str]:
    """Return notes on variables whose column has another name, since the table has one of that name."""
    renamed = table.attrs.get("columns", {}).items()
    return [f"{name!r} is a column of the table's own: the variable is in {column!r}." for name, column in renamed]


def not_undone(outcome: str) -> str:
    """Return the note on estimates that could not be put on the scale of the raw outcome."""
    return f"Estimates are on the link scale, that of {outcome}: no inverse is known that gives the raw outcomes back."


def printed(frames: Frames, marginal: Sequence[str], grouping: Sequence[str], one_scale: bool) -> str:
    """Return both tables as text, with what they are, our notes and those of R.

    Args:
        frames: estimates, and contrasts or None.
        marginal: the variables whose means or slopes these are.
        grouping: the variables within whose levels.
        one_scale: whether the model has no other scale than that of the outcome.
    """
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
