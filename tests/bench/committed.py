"""Results as they were committed, for tests of what README and docs say of them."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def committed(path):
    """Content of a file at HEAD: a run in this checkout writes it anew, maybe of another kind."""
    shown = subprocess.run(["git", "show", f"HEAD:{path}"], cwd=ROOT, capture_output=True)
    if shown.returncode:
        pytest.skip("no git checkout, so what was committed is not known")
    return shown.stdout
