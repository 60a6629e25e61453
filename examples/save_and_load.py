"""A model that outlives the process: fitted here, loaded and used in another one."""

import subprocess
import sys
import tempfile
from pathlib import Path

from pymer4 import Lmer, load_dataset, save_model

model = Lmer("Reaction ~ Days + (Days | Subject)", load_dataset("sleepstudy"))
model.fit(summarize=False)

elsewhere = """
import sys
import pandas as pd
from pymer4 import load_model

model = load_model(sys.argv[1])
print(model)
print(model.coefs.round(3).to_string())
print("R is running:", "rpy2" in sys.modules)
print("Day 10, subject 308:", model.predict(pd.DataFrame({"Days": [10], "Subject": ["308"]}), use_rfx=True).round(1))
print("R is running:", "rpy2" in sys.modules)
"""

with tempfile.TemporaryDirectory() as directory:
    file = Path(directory) / "sleepstudy.h5"
    save_model(model, file)
    for made in sorted(Path(directory).iterdir()):
        print(f"{made.name}: {made.stat().st_size / 1024:.0f} KiB")
    sys.stdout.flush()
    subprocess.run([sys.executable, "-c", elsewhere, str(file)], check=True)
