"""One tidy frame, a line a number of the paper: reported, rerun, how many images, what it means.

Computed from per-image metrics (parquet) and timings (JSON); no model is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.intervals import median_end
from bench.jobs import SKIPPED
from bench.ledger import AITI, TIME, half_unit, key_columns
from bench.status import METRICS, NOT_RUN, Chance, Mean, chance_of, judge, mean_of, trained_alike
from genhmr.types import UserError

Json = dict[str, Any]

REPORTED_NAMES = {
    "h36m": "Human3.6M",
    "coco": "COCO",
    "3dpw": "3DPW",
    "emdb": "EMDB",
    "amass": "AMASS",
    "moyo": "MOYO",
    "itw": "in-the-wild sets",
    "bedlam": "BEDLAM",
}
# What a row of variants.yaml says beside the columns that identify the reported row.
ROW_ONLY = ("transformer", "setting", "tokenizer", "step")


@dataclass(frozen=True)
class Timed:
    """AITI of a setting.

    Attributes:
        aiti: seconds.
        rounds: seconds of each round whose median it is. The rounds of a transformer's settings
            belong together, one by one. None are kept of what was timed before they were.
    """

    aiti: float
    rounds: list[float]


@dataclass(frozen=True)
class Rerun:
    """What the evaluation stages measured.

    Attributes:
        images: by transformer, columns ``setting, step, role, seed, key, mpjpe, pa_mpjpe, mve``.
        timings: by transformer, the times of its settings by ``"setting/step"``.
        poses: by tokenizer, columns ``role, key, mpjpe, pa_mpjpe, mve``, ``seed`` of several.
    """

    images: dict[str, pd.DataFrame] = field(default_factory=dict)
    timings: dict[str, dict[str, Timed]] = field(default_factory=dict)
    poses: dict[str, pd.DataFrame] = field(default_factory=dict)

    def timed(self, row: Json, model: str) -> Timed | None:
        """The time of a row of variants.yaml, None where its model (``model_of``) has none."""
        return self.timings.get(model.partition("/")[2], {}).get(timed_as(row))


def load_metrics(path: Path) -> pd.DataFrame:
    """Reads per-image metrics, as float64.

    Raises:
        UserError: the file is missing or is not parquet.
    """
    try:
        return pd.read_parquet(path).astype({metric: "float64" for metric in METRICS})
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: run the evaluation stage that writes it.") from error
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} is not a readable parquet file: rerun its stage.") from error


def _read_timing(path: Path) -> dict[str, Timed]:
    """Times by ``"setting/step"``.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        timing = json.loads(path.read_text())
        rounds = timing.get("rounds", {})
        return {name: Timed(aiti, rounds.get(name, [])) for name, aiti in timing["aiti"].items()}
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is missing or damaged: run the evaluation stage.") from error


def read_rerun(build: Path, variants: Json, job: Json) -> Rerun:
    """Reads what the evaluation stages left; models that the profile leaves out are absent.

    Args:
        build: folder with ``evaluate/`` and ``evaluate-tokenizer/``.
        variants: content of variants.yaml.
        job: ``build/plan/tables.json``.

    Raises:
        UserError: a file is missing or damaged.
    """
    rerun = Rerun()
    for name in variants["transformers"]:
        folder = build / "evaluate" / name
        if f"transformer/{name}" in job["skipped"] or (folder / SKIPPED).exists():
            continue
        rerun.images[name] = load_metrics(folder / "per_image.parquet")
        evaluation = variants["evaluations"][variants["transformers"][name]["evaluation"]]
        if "headline" in evaluation["settings"]:
            rerun.timings[name] = _read_timing(folder / "timing.json")
    for name in variants["tokenizers"]:
        if f"tokenizer/{name}" not in job["skipped"]:
            path = build / "evaluate-tokenizer" / name / "per_pose.parquet"
            rerun.poses[name] = load_metrics(path)
    return rerun


def model_of(row: Json, spec: Json, job: Json) -> str:
    """The model that a row of variants.yaml is rerun with, as ``"tokenizer/t48"``."""
    if "tokenizer" in row:
        return f"tokenizer/{row['tokenizer']}"
    name = f"transformer/{row.get('transformer', spec.get('transformer'))}"
    return job["same"].get(name, name)


def rerun_rows(number: str, spec: Json, reported: pd.DataFrame) -> list[Json | None]:
    """For every reported row, the row of variants.yaml that reruns it, or None.

    Raises:
        UserError: variants.yaml names a row that the paper does not have, or one twice.
    """
    keys = key_columns(reported)
    found: list[Json | None] = [None] * len(reported)
    for row in spec["rows"]:
        named = {name: value for name, value in row.items() if name not in ROW_ONLY}
        unknown = set(named) - set(keys)
        same = pd.Series(not unknown, index=reported.index)
        for name in set(named) - unknown:
            same &= reported[name] == named[name]
        if same.sum() != 1 or found[int(same.to_numpy().argmax())] is not None:
            raise UserError(
                f"bench/reported/table{number}.csv has {same.sum()} rows with {named}, or "
                "variants.yaml names it twice: one of each is needed."
            )
        found[int(same.to_numpy().argmax())] = row
    return found


def build_table(
    number: str,
    entry: Json,
    spec: Json,
    datasets: Json,
    job: Json,
    reported: pd.DataFrame,
    rerun: Rerun,
) -> tuple[pd.DataFrame, list[str]]:
    """The tidy frame of one table.

    Args:
        number: two digits, as in the file names.
        entry: of :func:`bench.ledger.read_ledger`.
        spec: the table's entry in variants.yaml; ``{"rows": []}`` where nothing is rerun.
        datasets: the ``datasets`` entry of variants.yaml.
        job: ``build/plan/tables.json``.
        reported: the paper's numbers.
        rerun: the suite's.

    Returns:
        One line a number in the paper's order, ``table, row, role, dataset, stands_for, metric,
        reported, rerun, low, high, n, seeds, tolerance, status`` beside the columns that identify
        a row; and their names. ``low`` and ``high`` are the ends of the rerun's 95 % interval,
        ``tolerance`` is how far it may lie from the reported number and be `reproduced`: what
        rounding and another seed change, empty where seeds were not measured.

    Raises:
        UserError: variants.yaml names a row that the paper does not have.
    """
    roles = {entry["kind"]: role for role, entry in datasets.items()}
    keys = key_columns(reported)
    rows = rerun_rows(number, spec, reported)
    chances = chances_in(rerun)
    lines = []
    for own, paper in zip(rows, reported.to_dict("records")):
        named = {key: paper[key] for key in keys}
        for column in reported.columns.difference(keys, sort=False):
            kind, _, metric = column.partition("_")
            line = {
                **named,
                "table": number,
                "row": ", ".join(f"{key}={value}" for key, value in named.items()),
                "reported": float(paper[column]),
            }
            if column == AITI:
                lines.append(line | _timing(own, spec, job, rerun))
                continue
            role = roles[kind]
            found, tolerance = Mean(), float("nan")
            status = NOT_RUN
            if own is not None:
                model = model_of(own, spec, job)
                found = mean_of(samples(own, model, role, rerun), metric)
                chance, spread = chances(model, own).get((role, metric)), None
                refined = own.get("step", 0) > 0 or own.get("setting", "").startswith("refined")
                rounding = half_unit(entry, column)
                if chance is not None:
                    spread = chance.spread(pairs=found.seeds < 2)  # beside the paper's one training
                    tolerance = rounding + spread
                status = judge(
                    job, model, found, float(paper[column]), rounding, spread, refined,
                    entry.get("not_read", ()),
                )  # fmt: skip
            lines.append(
                {
                    **line,
                    "role": role,
                    "dataset": job["names"][role],
                    "stands_for": REPORTED_NAMES[kind],
                    "metric": metric,
                    **asdict(found),
                    "tolerance": tolerance,
                    "status": status,
                }
            )
    return pd.DataFrame(lines), keys


def inference_of(row: Json) -> tuple[str, int]:
    """The setting and the refinement step that a row of variants.yaml is scored with."""
    return row.get("setting", "default"), row.get("step", 0)


def timed_as(row: Json) -> str:
    """What the AITI of a row of variants.yaml is called in ``timing.json``."""
    return f"{row['setting']}/{row.get('step', 0)}"


def chances_in(rerun: Rerun) -> Callable[[str, Json], dict[tuple[str, str], Chance]]:
    """Looks up what seeds change, by set and metric, for a model and a row; each is found once."""

    @cache
    def found(model: str, setting: str, step: int) -> dict[tuple[str, str], Chance]:
        return chance_of(trained_alike(rerun.images, rerun.poses, model), setting, step)

    return lambda model, row: found(model, *inference_of(row))


def samples(row: Json, model: str, role: str, rerun: Rerun) -> pd.DataFrame | None:
    """The images or poses that a row averages over; None where its model did not run.

    Args:
        row: of variants.yaml.
        model: see :func:`model_of`.
        role: of the data set.
        rerun: what was measured.
    """
    kind, _, name = model.partition("/")
    frame = (rerun.poses if kind == "tokenizer" else rerun.images).get(name)
    if frame is None:
        return None
    frame = frame[frame["role"] == role]
    if kind == "tokenizer":
        return frame
    setting, step = inference_of(row)
    return frame[(frame["setting"] == setting) & (frame["step"] == step)]


def _timing(row: Json | None, spec: Json, job: Json, rerun: Rerun) -> Json:
    found = Mean()
    if row is not None:
        time = rerun.timed(row, model_of(row, spec, job))
        if time is not None:
            rounds = np.array(time.rounds)
            low, high = median_end(rounds, 0.025), median_end(rounds, 0.975)
            found = Mean(time.aiti, low, high, max(1, len(rounds)))
    return {
        "role": "",
        "dataset": "this machine",
        "stands_for": "RTX A5000",
        "metric": TIME,
        **asdict(found),
        "tolerance": float("nan"),
        "status": "not comparable: other hardware" if found.n else NOT_RUN,
    }
