"""What the name of a record says: which video it is of, which person, which frame."""

from __future__ import annotations

import re


def sequence_of(key: str) -> str:
    """The video a frame belongs to, seen by one camera or by several.

    ``downtown/00017/0`` is of ``downtown``; the npz sets name their images
    ``images/S9_Walk.60457274_000123/17``, which is of ``S9_Walk`` whatever the camera.
    """
    folder, name, _ = key.rsplit("/", 2)
    subject = re.match(r"^(S\d+_[^.]*)\.", name)
    return subject.group(1) if subject else folder


def track_of(key: str) -> tuple[str, int]:
    """The person of a video, and the number of the frame: what motion is measured along.

    ``downtown/00017/0`` is frame 17 of ``downtown/0``; the npz sets' key
    ``images/S9_Walk.60457274_000123/17`` is frame 123 of that camera's video.
    """
    folder, name, person = key.rsplit("/", 2)
    if name.isdigit():
        return f"{folder}/{person}", int(name)
    found = re.match(r"^(.*?)(\d+)(?:\.(?:jpe?g|png))?$", name)
    video, number = found.groups() if found else (name, 0)
    return f"{folder}/{video}", int(number)


def clip_of(key: str) -> str:
    """The motion clip of a pose: ``CMU/01/01_01_poses/120`` is of ``CMU/01/01_01_poses``."""
    return key.rsplit("/", 1)[0]
