"""params.yaml and any YAML: wrong values and what is no YAML are refused in one sentence."""

from pathlib import Path

import pytest

from bench.params import check_params, read_yaml
from genhmr.types import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def params():
    return read_yaml(ROOT / "params.yaml")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda p: p["ugs"].__setitem__("itres", 5), "unknown key 'ugs.itres'"),
        (lambda p: p["ugs"].__setitem__("iters", "many"), "'ugs.iters' is 'many'"),
        (lambda p: p["ugs"].__setitem__("iters", 0), "greater than 0"),
        (lambda p: p["ugs"].__setitem__("temperature", float("inf")), "must be a finite number"),
        (lambda p: p["refine"].__setitem__("step_size", "5e-2"), "float; YAML reads a text there"),
        (lambda p: p["ugs"].__setitem__("iters", True), "type int"),
        (lambda p: p["refine"].__setitem__("iters", -1), "must not be negative"),
        (lambda p: p["refine"].__setitem__("optimiser", "sgd"), "choose one of adam, gradient"),
        (lambda p: p["refine"].__setitem__("camera_step_size", 0), "greater than 0"),
        (lambda p: p["ugs"].__setitem__("remask_decoded", 1), "must be of type bool"),
        (lambda p: p["ugs"].__setitem__("schedule", "sine"), "choose one of cosine"),
        (lambda p: p["data"].__setitem__("source", "private"), "choose one of open, licensed"),
        (lambda p: p.pop("seed"), "'seed' is missing"),
        (lambda p: p.__setitem__("models", "loss-*"), "must be of type list"),
        (lambda p: p.__setitem__("models", ["base", 3]), "must be a list of names"),
        (lambda p: p.__setitem__("weights", "mine"), "choose one of profile, shipped, trained"),
    ],
)
def test_bad_params_are_one_sentence(params, edit, message):
    edit(params)
    with pytest.raises(UserError, match=message) as error:
        check_params(params)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["params.yaml", "variants.yaml"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [", r"line 1, column 5: expected the node content.*begins in line 1\.$"),
        (b"a: 1\nb: {c: 1\n", "line 3, column 1: .*but got '<stream end>'.*in line 2"),
        (b"a:\n  b: 5\n   c: 1\n", r"line 3, column 5: mapping values are not allowed here\.$"),
        (b"a: 1\n\tb: 2\n", r"line 2, column 1: found character '\\t' that cannot start"),
        (b"a: 1\nb: 2\na: 3\n", "line 3, column 1: the key 'a' stands there twice"),
        (b"? [1, 2]\n: 3\n", "line 1, column 3: found unhashable key"),
        (b"a: !!python/object:os.x 1\n", "line 1, column 4: could not determine a constructor"),
        (b"a: \x01\n", "character #x0001: special characters are not allowed"),
        (b"a: \xff\n", "cannot be read as text"),
        (b"- 1\n- 2\n", "must hold a mapping of names to values"),
        (b"", "must hold a mapping of names to values"),
        (None, "is missing: run from the root"),
    ],
)
def test_unreadable_yaml_is_one_sentence_with_its_line(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=f"{name} .*{message}") as error:
        read_yaml(path)
    assert "\n" not in str(error.value)
