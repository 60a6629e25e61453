"""Write deepdish_tree.h5 with deepdish itself, in an environment of that time, as docs/explanation/files.md says."""

from pathlib import Path

import numpy as np

ROWS = 400

TREE = {
    "text": "a",
    "umlaut": "é",
    "empty": "",
    "bytes": b"xy",
    "yes": True,
    "no": False,
    "int": 3,
    "float": 2.5,
    "none": None,
    "second": None,
    "list": [1, "a", None, 2.0, True],
    "tuple": (1, (2, 3)),
    "nothing": [],
    "dict": {"(Intercept)": 2.0, "2.5_ci": "x", "P-val": {"deep": 1}},
    "floats": np.arange(3.0),
    "ints": np.arange(4),
    "small": np.arange(3, dtype="i4"),
    "truths": np.array([True, False]),
    "coded": np.array([b"a", b"bcd"]),
    "texts": np.array(["a", "bé"]),
    "matrix": np.arange(6.0).reshape(2, 3),
    "without rows": np.zeros((0, 3)),
    "long floats": np.arange(float(ROWS)),
    "long ints": np.arange(ROWS, dtype="i4"),
    "long truths": np.arange(ROWS) % 2 == 0,
    "long coded": np.array([b"abc"] * ROWS),
    "long texts": np.array(["abc"] * ROWS),
    "long matrix": np.arange(3.0 * ROWS).reshape(ROWS, 3),
}

if __name__ == "__main__":
    import deepdish

    deepdish.io.save(Path(__file__).with_name("deepdish_tree.h5"), TREE, compression="zlib")
