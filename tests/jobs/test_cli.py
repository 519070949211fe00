"""Exit codes, shared options and the formats of results."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from earnbook.jobs.cli import cli
from earnbook.jobs.options import DURATION_SECONDS, TIME, TIME_TO, Format
from earnbook.pipeline.errors import BookLocked
from earnbook.rules.issues import Issue, IssueCode, IssueError
from tests.support.command_line import run_command


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Makes `earnbook sql` end with an exception, as a command that hits it would."""

    @click.command("sql")
    def command() -> None:
        raise error

    monkeypatch.setattr("earnbook.jobs.sql.command", command)


def test_a_job_that_cannot_be_done_exits_1_with_what_and_what_to_try(monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, BookLocked("shop.duckdb is being written", "Wait for it to finish."))
    result = run_command("sql")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: shop.duckdb is being written\n  Wait for it to finish.\n"


def test_mistakes_in_definitions_exit_2_and_are_all_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    issues = [Issue(code=IssueCode.CRON, message=f"number {n}", file="a.yaml", line=n) for n in (1, 2)]
    raising(monkeypatch, IssueError(issues))
    result = run_command("sql")
    assert result.exit_code == 2
    assert "a.yaml:1: CRON number 1" in result.stderr
    assert "a.yaml:2: CRON number 2" in result.stderr


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_an_interruption_exits_130_and_says_that_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    raising(monkeypatch, error)
    result = run_command("sql")
    assert result.exit_code == 130
    assert "Committed batches stay; the same command does the rest." in result.stderr


def test_usage_mistakes_exit_2() -> None:
    assert run_command("sql").exit_code == 2
    assert run_command("sql", "--no-such-option").exit_code == 2


def test_the_version_is_the_distributions() -> None:
    assert run_command("--version").stdout.startswith("earnbook, version 0.")


def test_help_does_not_import_the_engine() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from earnbook.jobs.cli import cli;"
        "assert CliRunner().invoke(cli, ['--help']).exit_code == 0;"
        "print([m for m in ('numba', 'duckdb', 'polars', 'pyarrow', 'celpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "text, microseconds",
    [
        ("2026-01-01", 1_767_225_600_000_000),
        ("2026-01-01T00:00:00Z", 1_767_225_600_000_000),
        ("2026-01-01T01:00:00.5+01:00", 1_767_225_600_500_000),
    ],
)
def test_a_time_is_rfc_3339_or_a_date(text: str, microseconds: int) -> None:
    assert TIME.convert(text, None, None) == microseconds


def test_a_date_as_an_inclusive_end_means_its_last_microsecond() -> None:
    assert TIME_TO.convert("2026-01-01", None, None) == 1_767_312_000_000_000 - 1


@pytest.mark.parametrize("text", ["2026-13-01", "2026-01-01T00:00:00", "noon", ""])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="Write a date or a time like"):
        TIME.convert(text, None, None)


def test_durations_are_go_texts_in_seconds() -> None:
    assert DURATION_SECONDS.convert("1h30m", None, None) == 5_400
    with pytest.raises(click.BadParameter, match="Write a duration like 90s"):
        DURATION_SECONDS.convert("5 minutes", None, None)


def test_every_command_with_results_has_the_output_options() -> None:
    context = click.Context(cli)
    for name in ("run", "advance", "verify", "sql", "generate"):
        command = cli.get_command(context, name)
        assert command is not None
        options = {option for parameter in command.params for option in parameter.opts}
        assert {"--format", "--output", "-o", "-v", "-q", "--no-progress"} <= options
    assert [f.value for f in Format] == ["table", "json", "ndjson", "csv", "parquet"]


def test_generate_writes_a_file_and_its_report(tmp_path: Path) -> None:
    path = tmp_path / "trial.ndjson"
    result = run_command("generate", path, "--events", "200", "--duplicates", "0.05", "--format", "json")
    assert result.exit_code == 0
    assert '"duplicates": 10' in result.stdout
    assert "210 rows (10 duplicates, 0 bad)" in result.stderr
    assert len(path.read_text().splitlines()) == 210


def test_generate_refuses_an_unknown_ending(tmp_path: Path) -> None:
    result = run_command("generate", tmp_path / "trial.xlsx")
    assert result.exit_code == 1
    assert "Name the file with one of" in result.stderr
