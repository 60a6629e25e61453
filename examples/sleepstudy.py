"""Sleep deprivation and reaction times: a first mixed model.

Belenky and others (2003), J. Sleep Res. 12, 1-12: 18 people, ten days of restricted sleep.
"""

import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import pandas as pd

from pymer4 import Lmer, load_dataset, load_model, save_model

here = Path(__file__).parent
sleepstudy = load_dataset("sleepstudy")

model = Lmer("Reaction ~ Days + (Days | Subject)", data=sleepstudy)
model.fit()

new = pd.DataFrame({"Days": [10.0, 10.0], "Subject": ["308", "999"]})
known, unknown = model.predict(new, use_rfx=True, new_levels="population")
print(f"\nDay 10, predicted: subject 308 {known:.1f} ms; a new subject {unknown:.1f} ms")

forest = here / "sleepstudy-forest.png"
model.plot_summary(figsize=(9, 4)).figure.savefig(forest, dpi=150)

lines = here / "sleepstudy-subjects.png"
model.plot("Days", xlabel="Days of sleep deprivation", ylabel="Reaction time (ms)").figure.savefig(lines, dpi=150)

print(f"Pictures: {forest}\n          {lines}")

with tempfile.TemporaryDirectory() as directory:
    file = Path(directory) / "sleepstudy.h5"
    save_model(model, file)
    loaded = load_model(file)
known, unknown = loaded.predict(new, use_rfx=True, new_levels="population")
print(f"Saved and loaded again, day 10: subject 308 {known:.1f} ms; a new subject {unknown:.1f} ms")
