"""What a stopped shard writer had finished: its whole tars, and the pictures in them.

A licensed set of hundreds of thousands of frames takes an hour and more to decode. Beside every tar
that is whole stands a note of the records in it and of what their bytes follow from: the picture's
file, its size and time, the person's box, and the sizes of the shard. A writer that starts again
takes the tars of which all that still holds, so that nothing stale is taken and the shard is the
same bytes however often it was stopped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genhmr.types import PersonFrame

Location = dict[str, int]


def _made_from(frame: PersonFrame) -> list[Any]:
    """What the stored image of a frame follows from, the sizes of the shard aside."""
    file = Path(frame.image)
    status = file.stat()
    box = [*(float(x) for x in frame.center), float(frame.box_size)]
    return [frame.key, str(file), status.st_size, status.st_mtime_ns, *box]


class TarJournal:
    """Notes of the whole tars of one shard, ``<folder>/<name of the tar>.json``.

    Args:
        folder: of the notes; made when the first tar is whole.
        sizes: all else that decides the bytes of a stored image.
    """

    def __init__(self, folder: Path, sizes: Sequence[float]) -> None:
        self._folder, self._sizes = folder, list(sizes)

    def note(self, tar: Path, frames: Sequence[PersonFrame], places: Sequence[Location]) -> None:
        """Notes that a tar is whole.

        Args:
            tar: closed.
            frames: in it, in order.
            places: where each lies.
        """
        content = {
            "sizes": self._sizes,
            "bytes": tar.stat().st_size,
            "records": [[_made_from(frame), place] for frame, place in zip(frames, places)],
        }
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{tar.name}.json"
        part = path.with_suffix(".part")
        part.write_text(json.dumps(content))
        os.replace(part, path)

    def finished(self, tars: Sequence[Path], frames: Sequence[PersonFrame]) -> list[list[Location]]:
        """Where the first frames lie, for each leading tar that can be taken as it is.

        Args:
            tars: that may be whole, in order.
            frames: of the shard that is to be written.
        """
        found: list[list[Location]] = []
        start = 0
        for tar in tars:
            try:
                note = json.loads((self._folder / f"{tar.name}.json").read_text())
                records = note["records"]
                same = (note["sizes"], note["bytes"]) == (self._sizes, tar.stat().st_size)
                own = frames[start : start + len(records)]
                same = same and [made for made, _ in records] == [_made_from(f) for f in own]
            except (OSError, ValueError, KeyError, TypeError):  # no note, or a picture is gone
                break
            if not same:
                break
            found.append([place for _, place in records])
            start += len(records)
        return found
