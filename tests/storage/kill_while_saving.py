"""Kill processes at random moments while they save models, and load what is there after each.

    python kill_while_saving.py DIRECTORY TIMES

The directory holds two models, a.h5 and b.h5; the processes save them by turns as x.h5. R is never started.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from pymer4 import load_model, save_model


def main(directory: Path, times: int) -> None:
    """Kill `times` processes, more until some were between the steps of a save, and say where they were."""
    models = {name: load_model(directory / f"{name}.h5") for name in "ab"}
    objects = {name: model._saved.content for name, model in models.items()}
    path = directory / "x.h5"
    start = time.perf_counter()
    save_model(models["a"], path)
    once = time.perf_counter() - start
    chance, met = random.Random(1), Counter()
    while met.total() < times or (len(met) < 3 and met.total() < 20 * times):
        child = os.fork()
        if child == 0:
            while True:
                for model in models.values():
                    save_model(model, path)
        time.sleep(chance.uniform(0, 6 * once))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        left = sorted(file.name for file in directory.iterdir() if file.name[:2] == "x.")
        met[" ".join(left)] += 1
        found = load_model(path)
        name = next(name for name, model in models.items() if model.formula == found.formula)
        if found._saved.content != objects[name] or not found.coefs.equals(models[name].coefs):
            raise SystemExit(f"x.h5 holds {name!r}, but not whole; the directory held {left}")
        if not found.data.equals(models[name].data):
            raise SystemExit(f"x.h5 holds other data than {name!r}; the directory held {left}")
    for left, count in met.most_common():
        print(f"{count:4d}  {left}")
    if len(met) < 3:
        raise SystemExit("no process was killed between the steps of a save")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
