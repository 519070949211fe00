"""The directory of an export: files that appear whole or not at all, and the manifest that says which of them count.

A file is written beside its place and renamed into it; the manifest is written last, in the same way. A crash leaves
files that no manifest names: the next export writes them again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from earnbook.pipeline.errors import EarnbookError
from earnbook.pipeline.export_tables import SCHEMA_VERSION

MANIFEST = "manifest.json"
FORMAT = "earnbook-export"

_BLOCK_BYTES = 1 << 20


class ExportError(EarnbookError):
    """A directory that is not, or no longer, an export of this book."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedFile:
    """A Parquet file: its path in the directory, the rows of which dataset and batch, and what its bytes are."""

    path: str
    dataset: str
    batch: int
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedBatch:
    """A batch that is in the directory, with what ties it to the book; times are RFC 3339."""

    batch: int
    seal: str
    book_clock: str
    last_log_seq: int
    last_entry_seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What is in the directory."""

    organization_id: str
    batches: tuple[ExportedBatch, ...] = ()
    files: tuple[ExportedFile, ...] = ()


def read_manifest(directory: Path) -> Manifest | None:
    """The manifest of a directory, None where there is none; raises ExportError where it is none of ours."""
    path = directory / MANIFEST
    if not path.exists():
        return None
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found, version = document["format"], document["schema_version"]
        if found != FORMAT or version != SCHEMA_VERSION:
            raise ExportError(
                f"{path} is {found} of schema version {version}; this earnbook writes {FORMAT} {SCHEMA_VERSION}",
                "Export to a new directory.",
            )
        return Manifest(
            organization_id=document["organization_id"],
            batches=tuple(ExportedBatch(**batch) for batch in document["batches"]),
            files=tuple(ExportedFile(**file) for file in document["files"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExportError(f"{path} cannot be read: {error}", "Restore it, or export to a new directory.") from error


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Puts the manifest in place; one line for each batch and file, so that differences are readable."""
    head = {"format": FORMAT, "schema_version": SCHEMA_VERSION, "organization_id": manifest.organization_id}
    parts = [f'  "{name}": {json.dumps(value)}' for name, value in head.items()]
    parts += [f'  "batches": {_lines(manifest.batches)}', f'  "files": {_lines(manifest.files)}']
    with whole_file(directory / MANIFEST) as part:
        part.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def _lines(items: Iterable[ExportedBatch | ExportedFile]) -> str:
    rows = ",\n".join(f"    {json.dumps(asdict(item), ensure_ascii=False)}" for item in items)
    return f"[\n{rows}\n  ]" if rows else "[]"


def refuse_changed_files(directory: Path, manifest: Manifest, *, check_bytes: bool) -> None:
    """Raises ExportError naming the files that are not what the manifest says; sizes alone without `check_bytes`."""
    changed = []
    for file in manifest.files:
        path = directory / file.path
        if not path.is_file():
            changed.append(f"{file.path} is missing")
        elif path.stat().st_size != file.bytes or (check_bytes and sha256_of(path) != file.sha256):
            changed.append(f"{file.path} is not what was exported (batch {file.batch})")
    if changed:
        shown = "\n  ".join(changed[:20]) + (f"\n  … and {len(changed) - 20:,} more" if len(changed) > 20 else "")
        raise ExportError(
            f"{directory} was changed since it was exported:\n  {shown}",
            "Nothing was written. Restore the files, or export to a new directory.",
        )


def sha256_of(path: Path) -> str:
    """The hash of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to that takes the place of `path` when the block ends, and is gone when it fails.

    Its bytes are on disk before the rename, so that a crash leaves the old file or the new one.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        with part.open("rb+") as stream:
            os.fsync(stream.fileno())
        part.replace(path)
    except OSError as error:
        raise ExportError(
            f"{path} cannot be written: {error.strerror or error}", "Check the directory, its rights and its space."
        ) from error
    finally:
        part.unlink(missing_ok=True)
