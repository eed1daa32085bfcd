"""Command line of the open body builder."""

from __future__ import annotations

import argparse
from pathlib import Path

from genhmr.world.body_builder.build import main


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m genhmr.world.body_builder",
        description="Build the open body (SMPL format, 6890 vertices) from CC0 assets.",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the finished files")
    parser.add_argument("--seed", type=int, default=0, help="seed of every random draw")
    return parser.parse_args()


if __name__ == "__main__":
    arguments = _arguments()
    main(arguments.out, arguments.seed)
