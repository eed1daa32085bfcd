"""Joins predictions to the frames of the ground truth by name, whatever their order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.predictions import Predictions
from genhmr.types import UserError


class NoOverlap(UserError):
    """No prediction of a file belongs to any frame, by its name or by who is meant in it."""


@dataclass(frozen=True)
class Match:
    """Which prediction belongs to which frame of the ground truth.

    Attributes:
        rows: (T, K) row of the predictions for frame t and hypothesis k.
        frames: (T,) frames of the ground truth that have predictions, in its order.
        missing: keys of the frames without one.
        unknown: names of predictions that no frame has.
    """

    rows: np.ndarray
    frames: np.ndarray
    missing: list[str]
    unknown: list[str]


def _tail(path: str, parts: int) -> str:
    return "/".join(path.replace("\\", "/").split("/")[-parts:])


def _frames_by_image(images: list[str]) -> tuple[dict[str, list[int]], int]:
    """Path tails -> frames, and their length: as short as tells all images of the set apart.

    A shorter tail is never tried: what is unique in one split may be another picture elsewhere.
    """
    distinct = len(set(images))
    longest = max(image.count("/") for image in images) + 1
    parts = next(
        (n for n in range(1, longest) if len({_tail(i, n) for i in set(images)}) == distinct),
        longest,
    )
    frames: dict[str, list[int]] = {}
    for frame, image in enumerate(images):
        frames.setdefault(_tail(image, parts), []).append(frame)
    return frames, parts


def _nearest(
    center: np.ndarray, frames: list[int], centers: np.ndarray, sides: np.ndarray
) -> list[int]:
    """The frame whose box has the nearest centre, if that lies within half its side; else none."""
    away = np.abs(centers[frames] - center).max(1)
    best = int(away.argmin())
    return [frames[best]] if away[best] <= sides[frames[best]] / 2 else []


def _why_none(
    found: Predictions,
    keys: list[str],
    images: list[str],
    nobody: list[tuple[int, list[int]]],
    boxes: tuple[np.ndarray, np.ndarray] | None,
) -> str:
    """The sentence where nothing matched: names that are strange, or nobody where they say."""
    if not nobody:
        return (
            f"{found.path}: no {found.by} is known to the ground truth; the file has "
            f"'{found.names[0]}', the ground truth has "
            f"'{keys[0] if found.by == 'key' else images[0]}' (see docs/predictions.md)."
        )
    row, frames = nobody[0]
    known = f"{len(nobody)} of {len(found)} names are known to the ground truth"
    if found.person is not None:
        there = ", ".join(sorted({keys[frame].rsplit("/", 1)[1] for frame in frames}))
        return (
            f"{found.path}: {known}, and no 'person' of theirs is in the data set, first "
            f"{found.person[row]} in {found.names[row]}, where it has {there}: write the data "
            "set's numbers, or 'center' in place of 'person'."
        )
    centers, sides = boxes
    given = found.center[row]
    near = frames[int(np.abs(centers[frames] - given).max(1).argmin())]
    return (
        f"{found.path}: {known}, and no 'center' of theirs lies within half a box of a person, "
        f"first ({given[0]:.0f}, {given[1]:.0f}) in {found.names[row]}, where the nearest box has "
        f"({centers[near][0]:.0f}, {centers[near][1]:.0f}) and side {sides[near]:.0f}: write "
        "pixels of the original image."
    )


def match_frames(
    found: Predictions,
    keys: list[str],
    images: list[str],
    numbered: bool = True,
    boxes: tuple[np.ndarray, np.ndarray] | None = None,
) -> Match:
    """Joins predictions and ground truth by name; their order does not matter.

    Args:
        found: the predictions.
        keys: of the frames, ``<sequence>/<frame>/<person>``.
        images: of the frames, paths relative to the data set. An image name of a prediction may
            have other folders in front; as many of its last parts must agree as tell the images
            of the data set apart.
        numbered: whether keys end in the number of the person (3DPW, EMDB) or of a row (npz sets).
        boxes: centres (T, 2) and sides (T,) of the frames' boxes in pixels: what the predictions'
            ``center`` is compared with.

    Raises:
        UserError: a frame is predicted twice, hypotheses are incomplete, or an image shows several
            people and neither ``person`` nor ``center`` tells which.
        NoOverlap: no name is known, or nobody is where every ``person`` or ``center`` says.
    """
    if found.by == "key":
        lookup = {key: [frame] for frame, key in enumerate(keys)}.get
    else:
        tails, parts = _frames_by_image(images)

        def lookup(name: str) -> list[int] | None:
            return tails.get(_tail(name, parts))

    table: dict[int, dict[int, int]] = {}
    unknown = []
    nobody: list[tuple[int, list[int]]] = []  # rows whose image is known: frames of that image
    for row, name in enumerate(found.names):
        frames = lookup(str(name))
        if frames is None:
            unknown.append(str(name))
            continue
        shown = frames
        # Where one person is left, too: the others may have been filtered out.
        if found.person is None and found.center is not None and boxes is not None:
            frames = _nearest(found.center[row], frames, *boxes)
            if not frames:
                nobody.append((row, shown))
                x, y = found.center[row]
                unknown.append(f"{name} at {x:.0f}, {y:.0f}")
                continue
        if found.person is None and len(frames) > 1:
            raise UserError(
                f"{found.path}: {name} shows {len(frames)} people: add a column 'person' with "
                "their numbers or 'center' with the centres of their boxes in pixels, or use "
                f"'key' (here {keys[frames[0]]})."
            )
        if found.person is not None and found.by == "imgname" and numbered:
            wanted = str(found.person[row])
            frames = [frame for frame in frames if keys[frame].rsplit("/", 1)[1] == wanted]
            if not frames:
                nobody.append((row, shown))
                unknown.append(f"{name} person {wanted}")
                continue
        sample = 0 if found.sample is None else int(found.sample[row])
        known = table.setdefault(frames[0], {})
        if sample in known:
            again = "" if found.sample is None else f" and sample {sample}"
            raise UserError(
                f"{found.path}: frame {keys[frames[0]]}{again} is predicted twice (rows "
                f"{known[sample]} and {row}): keep one, number people in 'person' as the data set "
                "does, or number hypotheses in 'sample'."
            )
        known[sample] = row
    if not table:
        raise NoOverlap(_why_none(found, keys, images, nobody, boxes))
    hypotheses = max(len(known) for known in table.values())
    for frame, known in table.items():
        if set(known) != set(range(hypotheses)):
            raise UserError(
                f"{found.path}: frame {keys[frame]} has 'sample' "
                f"{', '.join(map(str, sorted(known)))}: every frame needs 0 to {hypotheses - 1}, "
                "as many as the frame with the most has."
            )
    frames = np.array(sorted(table), np.int64)
    rows = np.array([[table[f][k] for k in range(hypotheses)] for f in frames], np.int64)
    have = set(table)
    missing = [key for frame, key in enumerate(keys) if frame not in have]
    return Match(rows, frames, missing, unknown)
