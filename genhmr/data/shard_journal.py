"""What a stopped shard writer had finished: its whole tars, and the pictures in them.

A licensed set of hundreds of thousands of frames takes an hour and more to decode. Beside every tar
that is whole stands a note of the records in it and of what their bytes follow from: the picture's
file, its size and time when it was read, the person's box, the sizes of the shard and the code that
makes an image. A writer that starts again takes the tars of which all that still holds, so that the
shard is the same bytes however often it was stopped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genhmr.types import PersonFrame

Json = Any
Place = dict[str, int]


def made_from(frame: PersonFrame) -> Json:
    """What the stored image of a frame follows from, whatever else holds for the whole shard.

    Raises:
        OSError: there is no such picture.
    """
    file = Path(frame.image)
    status = file.stat()
    box = [*(float(x) for x in frame.center), float(frame.box_size)]
    return [frame.key, str(file), status.st_size, status.st_mtime_ns, *box]


class TarJournal:
    """Notes of the whole tars of one shard, ``<folder>/<name of the tar>.json``.

    Args:
        folder: of the notes; made when the first tar is whole.
        alike: what decides the bytes of all stored images, as JSON.
    """

    def __init__(self, folder: Path, alike: Json) -> None:
        self._folder, self._alike = folder, alike

    def note(self, tar: Path, full: bool, sources: Sequence[Json], places: Sequence[Place]) -> None:
        """Notes that a tar is whole.

        Args:
            tar: closed.
            full: whether the next record begins another tar; False of a shard's last one.
            sources: :func:`made_from` of its records, from before each was read.
            places: where each lies.
        """
        content = {
            "alike": self._alike,
            "bytes": tar.stat().st_size,
            "full": full,
            "records": list(zip(sources, places)),
        }
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{tar.name}.json"
        part = path.with_suffix(".part")
        part.write_text(json.dumps(content))
        os.replace(part, path)

    def kept(self, tars: Sequence[Path], frames: Sequence[PersonFrame]) -> list[list[Place]]:
        """Where the first frames lie, for each leading tar that can be taken as it is.

        Args:
            tars: that may be whole, in order.
            frames: of the shard that is to be written.
        """
        found: list[list[Place]] = []
        start = 0
        for tar in tars:
            try:
                note = json.loads((self._folder / f"{tar.name}.json").read_text())
                records = note["records"]
                own = frames[start : start + len(records)]
                same = note["alike"] == self._alike and note["bytes"] == tar.stat().st_size
                same = same and [source for source, _ in records] == [made_from(f) for f in own]
                start += len(records)
                # A last tar is no other's: with more frames than then, more would go into it.
                same = same and (note["full"] or start == len(frames))
            except (OSError, ValueError, KeyError, TypeError):  # no note, or a picture is gone
                break
            if not same:
                break
            found.append([place for _, place in records])
        return found
