"""Files of predictions as a user brings them, and their scores on the open-wild of conftest.py."""

import numpy as np
import pandas as pd

from bench.score import score

DATASET = "open-wild"


def write(path, columns):
    if path.suffix == ".npz":
        np.savez(path, **columns)
    else:
        listed = {k: v.tolist() if v.ndim > 1 else v for k, v in columns.items()}
        pd.DataFrame(listed).to_parquet(path)
    return path


def measure(checkout, bodies, path, names=("genhmr",), **options):
    root = checkout / "datasets" / "raw" / DATASET
    return score(path, DATASET, names, root, bodies, **options)
