"""Which files of this repository a module can reach by its imports: the code that a stage runs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGES = ("bench", "genhmr")


def _files(module: str, root: Path) -> Iterator[Path]:
    """The file of a module and those of the packages around it; nothing where it is no module."""
    path = Path(*module.split("."))
    for part in [*reversed(path.parents), path]:
        for file in (part / "__init__.py", part.with_suffix(".py") if part.name else part):
            if (root / file).is_file():
                yield file


def imported_modules(path: Path, root: Path) -> Iterator[str]:
    """What a file imports, at its top or inside a function, as absolute names."""
    for node in ast.walk(ast.parse((root / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            around = path.with_suffix("").parts[: -node.level] if node.level else ()
            base = ".".join([*around, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


@cache
def _direct(path: Path, root: Path) -> frozenset[Path]:
    """The files of this repository that a file imports itself."""
    own = (name for name in imported_modules(path, root) if name.split(".")[0] in PACKAGES)
    return frozenset(file for name in own for file in _files(name, root))


def code_of(module: str, root: Path) -> list[Path]:
    """All files that a module and what it imports are made of, by the text of the imports.

    Args:
        module: of this repository, for example "bench.evaluate".
        root: of the repository.

    Returns:
        Paths relative to ``root``, sorted.
    """
    found: set[Path] = set()
    waiting = list(_files(module, root))
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _direct(path, root) - found
    return sorted(found)
