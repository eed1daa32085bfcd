"""`make` with a made-up Python: what it says before it installs, and what it refuses."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Answers the question for its version, makes a venv of itself, and notes when pip is called.
PYTHON = """#!/bin/sh
case "$1" in
-c) exit {answer} ;;
-m) case "$2" in
    venv) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && printf '#!/bin/sh\\n' > "$3/bin/dvc" &&
        chmod +x "$3/bin/dvc" ;;
    pip) echo "pip $*" ;;
    esac ;;
esac
"""


@pytest.fixture
def make(tmp_path):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)

    def run(answer):
        python = tmp_path / "python"
        python.write_text(PYTHON.format(answer=answer))
        python.chmod(0o755)
        command = ["make", f"PYTHON={python}", "repro"]
        # `make test` runs this: a make inside a make prints what folder it enters.
        own = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        return subprocess.run(
            command, cwd=tmp_path, env=own, capture_output=True, text=True, timeout=60
        )

    return run


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_installing_is_announced_before_pip_is_silent(make, tmp_path):
    done = make(0)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()[:2]
    assert re.search(r"Installing into \.venv.* minutes", first)
    assert second.startswith("pip -m pip install") and " -q " in second
    assert (tmp_path / ".venv" / ".installed").exists()
    again = make(0)
    assert again.returncode == 0 and "Installing" not in again.stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_an_old_python_is_refused_in_one_sentence_and_nothing_is_made(make, tmp_path):
    done = make(1)
    assert done.returncode != 0 and not (tmp_path / ".venv").exists()
    assert done.stderr.startswith("make: Python 3.11 or newer is needed")
    assert "make PYTHON=" in done.stderr and "pip" not in done.stdout


def test_the_python_that_is_asked_for_is_the_one_that_the_tested_versions_need():
    """numpy 2.4, scipy 1.17 and others of constraints.txt have no Python 3.10."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (least,) = re.fullmatch(r">=3\.(\d+)", project["requires-python"]).groups()
    assert int(least) >= 11 and sys.version_info[:2] >= (3, int(least))
    for name in ("Makefile", "bench/doctor.py"):
        assert f"(3, {least})" in (ROOT / name).read_text(), name
        assert f"3.{least} " in (ROOT / name).read_text(), name
