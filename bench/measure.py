"""Timing pymer4 beside its peers: warm processes, runs in turn, rows of the table."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

HERE = Path(__file__).parent


class Peer:
    """A warm R process that times what it is asked to run."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            ["Rscript", "--vanilla", str(HERE / "peer.R")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, *words: object) -> float:
        """Send one request, and return the seconds that R reports."""
        self.process.stdin.write("\t".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def write_columns(data: pd.DataFrame, folder: str) -> None:
    """Write the columns as raw doubles, for R to read."""
    for name in data.columns:
        data[name].to_numpy(dtype=float).tofile(Path(folder) / name)


class Row(NamedTuple):
    """A row of the table: seconds (or MiB) of pymer4, of R and of the plain way, and what ours over R's may be."""

    name: str
    ours: float
    theirs: float
    bound: float
    plain: float | None = None

    def line(self) -> str:
        """Return the row as text."""
        name, ours, theirs, bound, plain = self
        middle, last = ("", "") if plain is None else (f"{plain:.3f}", f"{plain / theirs:.2f}")
        return f"{name:<16}{ours:>10.3f}{theirs:>10.3f}{middle:>10}{ours / theirs:>12.2f}{last:>12}{bound:>8.2f}"


def alternate(runs: int, **sides: Callable[[], float]) -> dict[str, list[float]]:
    """Return the seconds of each side, run in turn, after one turn that does not count."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(runs + 1):
        for name, run in sides.items():
            seconds = run()
            if turn:
                times[name].append(seconds)
    return times


def timed(run: Callable[[], object]) -> float:
    """Return the seconds that one call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def child(*command: str) -> tuple[float, float]:
    """Run a command to its end; return its wall seconds and its peak memory in MiB."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with status {status}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024
