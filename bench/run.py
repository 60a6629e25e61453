"""How long pymer4 takes, as ratios to plain R on the same machine in the same run.

    python bench/run.py            mixed models, a cold process, resampling, marginal means, regressions
    python bench/run.py --big      1,000,000 simulated rows, with peak memory
    python bench/run.py --write    also put the table into docs/reference/bench.json, which the site shows
    python bench/run.py sleepstudy cold     only the rows whose names begin so

Each ratio is a median of warm runs that alternate with R's. For mixed models `R` is
`summary(lmerTest::lmer(...))`, which computes less than `Lmer.fit` does, and the third
column `lme4::lmer(...)`, which has neither df nor p. For regressions the third column
is the plain NumPy that the numbers take. For `import` the second is what it may take.
"""

from __future__ import annotations

import argparse

import designs
import engine
import inference
import mixed
import native
import record


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--big", action="store_true", help="the million rows")
    parser.add_argument("--write", action="store_true", help="keep the table for the site")
    parser.add_argument("rows", nargs="*", help="rows of the table, by the start of their names")
    given = parser.parse_args()
    if given.write and given.rows:
        parser.error("--write keeps a whole table: name no rows.")
    small = {name: lambda name=name: mixed.fit_ratio(name) for name in list(mixed.FITS)[:3]} | {
        "first fit": mixed.start_ratio,
        "cold process": mixed.cold_ratio,
        "glmer": mixed.glmer_ratio,
        "post_hoc": mixed.post_hoc_ratio,
        "import": native.import_seconds,
        "Lm": native.small_ratios,
        "Lm 100,000": native.large_ratio,
        "Lm resampling": native.resampling_ratios,
        "Lm2": native.grouped_ratio,
        "BCa": inference.bca_ratio,
        "emmeans": inference.marginal_ratio,
        "infer": inference.mixed_ratios,
        "native boot": engine.engine_resampling_ratios,
        "many": engine.many_ratios,
    }
    native_fits = {f"native {name}": lambda name=name: engine.engine_ratio(name) for name in designs.CASES}
    small |= {name: run for name, run in native_fits.items() if "1,000,000" not in name}
    # Memory first: a child counts that of the process it was forked from.
    big = {
        "peak memory": lambda: mixed.memory_ratio("R", 1.2),
        "native memory": lambda: mixed.memory_ratio("native", 0.8),
        "1,000,000 rows": lambda: mixed.fit_ratio("1,000,000 rows"),
        "native 1,000,000": native_fits["native 1,000,000 rows"],
    }
    table = big if given.big else small
    if given.rows:
        table = {name: measure for name, measure in table.items() if name.startswith(tuple(given.rows))}
    print(f"{'':<16}{'pymer4':>10}{'R':>10}{'plain':>10}{'pymer4/R':>12}{'plain/R':>12}{'at most':>8}", flush=True)
    found = {}
    for name, measure in table.items():
        found[name] = measure()
        print("\n".join(row.line() for row in found[name]), flush=True)
    if given.write:
        record.write("big" if given.big else "small", found)


if __name__ == "__main__":
    main()
