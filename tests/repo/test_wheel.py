"""The wheel holds the four packages, their data files, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("jobs", "pipeline", "rules", "ledger")


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The files in a wheel that is built from a copy, so that nothing is left behind here."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("pyproject.toml", "README.md", "LICENSE", *(p for p in PACKAGES)):
        copy(ROOT / name, source / name)
    command = [sys.executable, "-c", BUILD, str(folder)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    if done.returncode == 42:
        pytest.skip("the build backend (setuptools 77 or newer) is not installed here")
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


BUILD = """
import sys
try:
    import setuptools
    from setuptools import build_meta
except ImportError:
    sys.exit(42)
if int(setuptools.__version__.partition(".")[0]) < 77:
    sys.exit(42)
build_meta.build_wheel(sys.argv[1])
"""


def copy(source: Path, target: Path) -> None:
    """A file, or the files of a flat package."""
    if source.is_dir():
        for path in source.iterdir():
            if path.is_file():
                copy(path, target / path.name)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())


def test_it_has_every_module_under_its_installed_name(names: set[str]) -> None:
    expected = {f"earnbook/{path.relative_to(ROOT)}" for package in PACKAGES for path in (ROOT / package).glob("*.py")}
    assert {name for name in names if name.endswith(".py")} == expected


def test_it_has_the_data_files_and_type_markers(names: set[str]) -> None:
    patterns = ("*.sql", "*.jinja", "*.css")
    data = {
        f"earnbook/{path.relative_to(ROOT)}"
        for package in PACKAGES
        for pattern in patterns
        for path in (ROOT / package).glob(pattern)
    }
    assert {Path(name).suffix for name in data} == {Path(pattern).suffix for pattern in patterns}
    assert data | {f"earnbook/{package}/py.typed" for package in PACKAGES} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_it_has_no_tests_samples_or_caches(names: set[str]) -> None:
    strays = [name for name in names if not name.startswith("earnbook")]
    assert strays == []
    assert not any("__pycache__" in name for name in names)
