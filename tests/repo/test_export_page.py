"""docs/export.md: its commands run as they are written, and its Python says what the book says."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import run_command
from tests.support.tour import assert_shows, blocks, steps_of, words_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/export.md").read_text(encoding="utf-8")


def _value(code: str) -> Any:
    """What the last expression of a block is."""
    tree = ast.parse(code)
    last = tree.body.pop()
    assert isinstance(last, ast.Expr)
    names: dict[str, Any] = {}
    exec(compile(tree, "page", "exec"), names)
    return eval(compile(ast.Expression(last.value), "page", "eval"), names)


def test_the_commands_run_and_the_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "sample_data", tmp_path / "sample_data")
    monkeypatch.chdir(tmp_path)
    for command, expected in steps_of(PAGE):
        result = run_command(*words_of(command))
        assert result.exit_code == 0, f"{command}\n{result.output}"
        assert_shows(result.stdout + result.stderr, expected)
    duckdb_code, polars_code = blocks(PAGE, "python")
    kept = "SELECT asset, entity_type, sum(amount_minor) AS m FROM balances GROUP BY ALL ORDER BY ALL"
    shown = run_command("sql", "--book", "coffee.duckdb", "--format", "csv", kept).stdout.splitlines()[1:]
    scales = {"BEANS": 0, "EUR": 2}
    read = {(asset, kind): amount for asset, kind, amount in _value(duckdb_code).fetchall()}
    assert {(a, k): int(amount * 10 ** scales[a]) for (a, k), amount in read.items()} == {
        (asset, kind): int(minor) for asset, kind, minor in (line.split(",") for line in shown)
    }
    assert dict(_value(polars_code).rows()) == {"BEANS": 0, "EUR": 0}
