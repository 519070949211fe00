"""Imports run one way, third-party libraries have a home, and every public name says what it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("jobs", "pipeline", "rules", "ledger")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).glob("*.py"))

ALLOWED = {
    "jobs": {"jobs", "pipeline", "rules", "ledger"},
    "pipeline": {"pipeline", "rules", "ledger"},
    "rules": {"rules"},
    "ledger": {"ledger"},
}
RULES_MAY_KNOW = "earnbook.ledger.schema"

HOMES = {
    "click": ("jobs/*",),
    "rich": ("jobs/*",),
    "duckdb": ("pipeline/*",),
    "matplotlib": ("pipeline/reports_page_charts.py",),
    "jinja2": ("pipeline/reports_page_html.py",),
    "markupsafe": ("pipeline/reports_page_html.py",),
    "confluent_kafka": ("pipeline/stream_kafka.py",),
    "celpy": ("rules/parse*.py",),
    "lark": ("rules/parse*.py",),
    "yaml": ("rules/definitions_read.py",),
    "llvmlite": ("rules/kernel_machine.py",),
    "numba": ("ledger/*", "rules/kernel_*.py", "pipeline/columns.py", "pipeline/source_*.py"),
}


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of every module that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or "")


def place(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def test_there_is_something_to_check() -> None:
    assert len(FILES) > 50
    assert {path.parent.name for path in FILES} == set(PACKAGES)


def test_imports_are_absolute_and_by_the_distribution_name() -> None:
    wrong = [
        f"{place(path, line)} imports {name}"
        for path in FILES
        for line, name in imported(path)
        if name.startswith(".") or name.split(".")[0] in PACKAGES
    ]
    assert wrong == []


def test_imports_run_from_jobs_through_pipeline_to_rules_and_ledger() -> None:
    wrong = []
    for path in FILES:
        for line, name in imported(path):
            parts = name.split(".")
            if parts[0] != "earnbook":
                continue
            package = path.parent.name
            if package == "rules" and name == RULES_MAY_KNOW:
                continue
            if len(parts) < 2 or parts[1] not in ALLOWED[package]:
                wrong.append(f"{place(path, line)} imports {name}")
    assert wrong == []


def test_packages_are_flat_and_only_init_files_have_no_code() -> None:
    nested = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if path.parent.name != package]
    assert nested == []


@pytest.mark.parametrize("library", HOMES)
def test_a_library_stays_at_home(library: str) -> None:
    strays = [
        place(path, line)
        for path in FILES
        for line, name in imported(path)
        if name.split(".")[0] == library and not any(path.relative_to(ROOT).match(home) for home in HOMES[library])
    ]
    assert strays == []


def test_everything_public_has_a_docstring() -> None:
    silent = []
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if ast.get_docstring(tree) is None:
            silent.append(str(path.relative_to(ROOT)))
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
                continue
            if ast.get_docstring(node) is None:
                silent.append(f"{place(path, node.lineno)} {node.name}")
    assert silent == []


def test_the_core_asks_nobody_for_time_chance_or_the_environment() -> None:
    asking = {"random", "secrets", "time", "socket", "subprocess"}
    wrong = [
        f"{place(path, line)} imports {name}"
        for path in FILES
        if path.parent.name in ("rules", "ledger")
        for line, name in imported(path)
        if name.split(".")[0] in asking
    ]
    assert wrong == []
