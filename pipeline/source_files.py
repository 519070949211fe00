"""Opening inputs: paths, globs, directories and standard input, compressed or not, with the hash of their bytes.

In: what the user wrote. Out: `InputFile`s in the order of the run (§4.1): files as given, those of a glob or directory
by name. An input that cannot be opened raises SourceError before anything is decided; a read error in the middle of a
file does too, so that no half-read file is ever taken for a whole one.
"""

from __future__ import annotations

import gzip
import hashlib
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import IO, BinaryIO, cast

import pyarrow as pa
import zstandard

from earnbook.pipeline.errors import SourceError

STDIN = "-"
"""The name of standard input."""

FORMATS = {
    "ndjson": ("ndjson", "jsonl", "json"),
    "csv": ("csv",),
    "parquet": ("parquet", "pq"),
    "arrow": ("arrow", "ipc", "feather"),
}
"""File endings of each format."""

COMPRESSIONS = ("gz", "zst")
"""Endings of compressed files."""

_BLOCK_BYTES = 1 << 20
_GLOB_CHARACTERS = frozenset("*?[")
_READ_ERRORS = (OSError, EOFError, zlib.error, zstandard.ZstdError)


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """One input: its name as users know it, where it is (None: standard input), its format and compression."""

    name: str
    path: Path | None
    format: str
    compression: str | None = None


class InputStream(RawIOBase):
    """The decompressed bytes of an input, read once, front to back; `sha256` is of the bytes of the file itself."""

    def __init__(self, file: InputFile, raw: BinaryIO, on_read: Callable[[int], None]) -> None:
        super().__init__()
        self._name = file.name
        self._hashing = _HashingStream(raw, on_read)
        self._stream: IO[bytes] = _decompress(self._hashing, file.compression)

    def readable(self) -> bool:
        """Always true."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill `buffer` with the next bytes; 0 at the end."""
        try:
            data = self._stream.read(len(buffer))
        except _READ_ERRORS as error:
            raise SourceError(
                f"{self._name}: reading failed: {error}",
                "Check that the file is complete and of the format its name says.",
            ) from error
        buffer[: len(data)] = data
        return len(data)

    def sha256(self) -> str:
        """The hash of the file's bytes; reads what is left of it."""
        while self._hashing.read(_BLOCK_BYTES):
            pass
        return self._hashing.digest.hexdigest()

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            self._hashing.close()
        super().close()


def find_inputs(inputs: tuple[str, ...], file_format: str | None = None) -> tuple[InputFile, ...]:
    """The files that `inputs` name, in the order of the run; raises SourceError where one names none."""
    if file_format is not None and file_format not in FORMATS:
        raise SourceError(f"there is no format {file_format!r}", f"Use one of {', '.join(FORMATS)}.")
    if inputs.count(STDIN) > 1:
        raise SourceError("standard input (-) is given twice", "Give it once.")
    return tuple(file for text in inputs for file in _find_files(text, file_format))


def has_known_format(path: Path) -> bool:
    """Whether the ending of a file's name says what it is."""
    return _split_name(path)[0] in {ending for known in FORMATS.values() for ending in known}


def open_stream(file: InputFile, on_read: Callable[[int], None]) -> InputStream:
    """Open an input for reading front to back; `on_read` hears how many bytes of the file were read."""
    if file.path is None:
        return InputStream(file, sys.stdin.buffer, on_read)
    return InputStream(file, _open(file, file.path), on_read)


def open_mapped(file: InputFile, on_read: Callable[[int], None]) -> tuple[pa.NativeFile, str]:
    """An input for random access, and its hash: memory-mapped where it is a plain file, else read into memory."""
    with BufferedReader(open_stream(file, on_read), _BLOCK_BYTES) as stream:
        if file.path is not None and file.compression is None:
            raw = stream.raw
            assert isinstance(raw, InputStream)
            return pa.memory_map(str(file.path)), raw.sha256()
        data = stream.read()
        raw = stream.raw
        assert isinstance(raw, InputStream)
        return pa.BufferReader(data), raw.sha256()


class _HashingStream(RawIOBase):
    """A byte stream that hashes what passes."""

    def __init__(self, raw: BinaryIO, on_read: Callable[[int], None]) -> None:
        super().__init__()
        self._raw = raw
        self._on_read = on_read
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._raw.read(len(buffer))
        self.digest.update(data)
        self._on_read(len(data))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed and self._raw is not sys.stdin.buffer:
            self._raw.close()
        super().close()


def _decompress(stream: _HashingStream, compression: str | None) -> IO[bytes]:
    buffered = BufferedReader(stream, _BLOCK_BYTES)
    if compression == "gz":
        return cast(IO[bytes], gzip.GzipFile(fileobj=buffered, mode="rb"))
    if compression == "zst":
        return cast(IO[bytes], zstandard.ZstdDecompressor().stream_reader(buffered, read_across_frames=True))
    return buffered


def _find_files(text: str, file_format: str | None) -> list[InputFile]:
    if text == STDIN:
        return [InputFile(name=STDIN, path=None, format=file_format or "ndjson")]
    path = Path(text)
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.is_file() and has_known_format(p))
        if not found:
            raise SourceError(f"{text}: the directory has no event files", f"Put files ending in {_endings()} there.")
    elif path.exists() or not _GLOB_CHARACTERS & set(text):
        found = [path]
    else:
        anchor = Path(path.anchor) if path.is_absolute() else Path()
        found = sorted(p for p in anchor.glob(str(path.relative_to(anchor))) if p.is_file())
        if not found:
            raise SourceError(
                f"{text}: no file matches", "Correct the pattern, or quote it where the shell changes it."
            )
    return [_input_file(p, file_format) for p in found]


def _input_file(path: Path, file_format: str | None) -> InputFile:
    if not path.exists():
        raise SourceError(f"{path}: there is no such file", "Correct the path.")
    ending, compression = _split_name(path)
    by_ending = next((name for name, endings in FORMATS.items() if ending in endings), None)
    chosen = file_format or by_ending
    if chosen is None:
        raise SourceError(
            f"{path}: the format is not known from the ending {path.suffix!r}",
            f"Use an ending of {_endings()}, or name the format of the source.",
        )
    return InputFile(name=path.as_posix(), path=path, format=chosen, compression=compression)


def _split_name(path: Path) -> tuple[str, str | None]:
    """The ending that names the format, and the compression."""
    suffixes = [suffix[1:].lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        return (suffixes[-2] if len(suffixes) > 1 else ""), suffixes[-1]
    return (suffixes[-1] if suffixes else ""), None


def _endings() -> str:
    return ", ".join(f".{ending}" for endings in FORMATS.values() for ending in endings) + " (.gz and .zst too)"


def _open(file: InputFile, path: Path) -> BinaryIO:
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise SourceError(
            f"{file.name}: it cannot be opened: {error.strerror}", "Check the path and its rights."
        ) from error
