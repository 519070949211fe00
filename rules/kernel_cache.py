"""The cache of compiled kernels: files named by the hash of all that decides their content, so none ever changes.

A file of machine code begins with the digest of the rest. One that is damaged is made again; one that another process
is writing is not seen before it is whole. The folder stays below `CACHE_BYTES_MAX`: what was made first goes first, and
what goes too early is made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

CACHE_VARIABLE = "EARNBOOK_CACHE"
CACHE_BYTES_MAX = 256 * 2**20
"""What the folder may take; the machine code of 500 rules takes about 4 MiB."""

_DIGEST = 32
_BLOCK = 4096


def default_cache_directory() -> Path:
    """`EARNBOOK_CACHE`, else the user's cache directory."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "earnbook"


def object_file(path: Path, make: Callable[[], bytes]) -> tuple[bytes, bool]:
    """The machine code in a file and whether it was made now, because there was none or it was damaged.

    Raises OSError where the folder cannot be read or written.
    """
    with contextlib.suppress(FileNotFoundError):
        content = path.read_bytes()
        image = content[_DIGEST:]
        if hashlib.sha256(image).digest() == content[:_DIGEST]:
            return image, False
    image = make()
    store(hashlib.sha256(image).digest() + image, path)
    return image, True


def store(content: bytes, path: Path) -> Path:
    """A file of the cache, written at once or not at all: another process may be reading it."""
    if path.exists() and path.read_bytes() == content:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=path.stem, suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
    return path


def seal(module: Path) -> None:
    """Remember the digest of what numba has stored beside a module: numba itself takes a damaged file for good."""
    store(_digest_of_numba_files(module), module.with_suffix(".seal"))


def discard_unless_sealed(module: Path) -> None:
    """Delete what numba has stored beside a module, where that is not what was sealed; numba makes it again."""
    with contextlib.suppress(FileNotFoundError):
        if module.with_suffix(".seal").read_bytes() == _digest_of_numba_files(module):
            return
    for path in _numba_files(module):
        path.unlink(missing_ok=True)


def _digest_of_numba_files(module: Path) -> bytes:
    digest = hashlib.sha256()
    for path in _numba_files(module):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.digest()


def _numba_files(module: Path) -> list[Path]:
    return sorted(module.parent.glob(f"__pycache__/{module.stem}.*.nb?"))


def prune(directory: Path, *, bytes_max: int = CACHE_BYTES_MAX) -> None:
    """Delete the files that were written first until the rest takes no more than `bytes_max`."""
    files: list[tuple[int, str, int]] = []
    for path in directory.rglob("*"):
        # Other processes prune as well.
        with contextlib.suppress(FileNotFoundError):
            status = path.lstat()
            if path.is_file():
                files.append((status.st_mtime_ns, str(path), -(-status.st_size // _BLOCK) * _BLOCK))
    total = sum(size for _, _, size in files)
    for _, name, size in sorted(files):
        if total <= bytes_max:
            return
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        total -= size
