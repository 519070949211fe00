"""Writes docs/commands.md from the commands' own help: `python -m tests.support.commands_page`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from earnbook.jobs.cli import cli

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
_WIDTH = 110


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with its words, groups included, in the order of the help."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def commands_markdown() -> str:
    """The page: one section per command with its help text."""
    parts = ["# Commands", "Made from the commands' own `--help`.", _section(("earnbook",), cli)]
    parts += [_section(("earnbook", *words), command) for words, command in commands(cli)]
    return "\n\n".join(parts) + "\n"


def _section(words: tuple[str, ...], command: click.Command) -> str:
    settings = {**cli.context_settings, "terminal_width": _WIDTH, "max_content_width": _WIDTH}
    context = click.Context(cli, info_name=words[0], **settings)
    for word in words[1:]:
        group = context.command
        assert isinstance(group, click.Group)
        found = group.get_command(context, word)
        assert found is not None
        context = click.Context(found, info_name=word, parent=context)
    return f"## {' '.join(words)}\n\n```text\n{command.get_help(context).rstrip()}\n```"


if __name__ == "__main__":
    PAGE.write_text(commands_markdown(), encoding="utf-8")
