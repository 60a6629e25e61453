"""The tables of bench.md, from what `make bench ARGS=--write` kept in bench.json."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pandas as pd

KEPT: dict[str, Any] = json.loads(Path(__file__).with_name("bench.json").read_text("utf-8"))


def header(name: str) -> str:
    """Return when, where and with what a table was measured."""
    kept = KEPT[name]
    versions = ", ".join(f"{package} {version}" for package, version in kept["versions"].items())
    return f"{kept['date']}, {kept['machine']}, load {kept['load']}\n{textwrap.fill(versions, 80)}"


def table(name: str) -> pd.DataFrame:
    """Return a table: times in milliseconds, ours over R's, and the most that this may be."""
    rows = pd.DataFrame(KEPT[name]["rows"])
    same = [row.name in row.measure or row.measure in row.name for row in rows.itertuples(index=False)]
    label = rows["name"].where(same, rows["measure"] + ": " + rows["name"])
    label = rows["measure"].where(rows["measure"].str.endswith(tuple(rows["name"])), label)
    scale = [1.0 if text.startswith("peak MiB") else 1000.0 for text in rows["name"]]
    found = pd.DataFrame(
        {
            "pymer4": rows["ours"] * scale,
            "R": rows["theirs"] * scale,
            "plain": rows["plain"].astype(float) * scale,
            "pymer4 / R": rows["ours"] / rows["theirs"],
            "at most": rows["bound"],
        }
    )
    text = {name: [f"{x:,.1f}" if x == x else "" for x in found[name]] for name in ("pymer4", "R", "plain")}
    ratios = {name: [f"{x:.3g}" for x in found[name]] for name in ("pymer4 / R", "at most")}
    return pd.DataFrame(text | ratios, index=label.rename(None))
