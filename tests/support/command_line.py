"""Runs the real command line in this process."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from earnbook.jobs.cli import cli


def run_command(*arguments: str | Path, environment: dict[str, str] | None = None, input: str | None = None) -> Result:
    """One `earnbook` command; `stdout` and `stderr` of the result are apart, an unexpected exception is raised."""
    result = CliRunner(env={"EARNBOOK_BOOK": "", "EARNBOOK_CONFIG": ""} | (environment or {})).invoke(
        cli, [str(argument) for argument in arguments], input=input
    )
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result
