"""Sleep deprivation and reaction times: a first mixed model, its picture, its file and its page.

    python examples/sleepstudy.py          what it makes goes to the folder demo
    python examples/sleepstudy.py results  to another

Belenky and others (2003), J. Sleep Res. 12, 1-12: 18 people, ten days of restricted sleep. The table of the page is
made by great_tables, which the extra `tables` brings.
"""

import html
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd

from pymer4 import Lmer, load_dataset, load_model, save_model

PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sleep deprivation and reaction times</title>
<style>
  body {{ max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; color: #222; }}
  img {{ max-width: 100%; }}
</style>
<h1>Sleep deprivation and reaction times</h1>
<p>{report}</p>
<img src="{picture}" alt="Estimates with their limits, and the reaction time over days for each subject">
{table}
</html>
"""

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "demo")
folder.mkdir(parents=True, exist_ok=True)
picture, file, page = (folder / f"sleepstudy{ending}" for ending in (".png", ".h5", ".html"))

model = Lmer("Reaction ~ Days + (Days | Subject)", data=load_dataset("sleepstudy"))
model.fit()

new = pd.DataFrame({"Days": [10.0, 10.0], "Subject": ["308", "999"]})
known, unknown = model.predict(new, use_rfx=True, new_levels="population")
print(f"\nDay 10, predicted: subject 308 {known:.1f} ms; a new subject {unknown:.1f} ms")

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
model.plot_summary(plot_intercept=False, ax=left)
model.plot("Days", xlabel="Days of sleep deprivation", ylabel="Reaction time (ms)", ax=right)
figure.savefig(picture, dpi=150)

save_model(model, file)
again, _ = load_model(file).predict(new, use_rfx=True, new_levels="population")
print(f"Saved, loaded again, predicted again: subject 308 {again:.1f} ms")

page.write_text(
    PAGE.format(report=html.escape(model.report()), picture=picture.name, table=model.to_html()), encoding="utf-8"
)

print(f"""
The picture    {picture}
The model      {file}, with R's part of it in {file.with_suffix(".robj").name}
The page       {page}: open it in a browser

Read next      README.md, docs/index.md and what else is in examples/""")
