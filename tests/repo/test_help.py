"""Help texts: every command has an example that its own options understand, and the list of commands is right."""

from __future__ import annotations

import re
import shlex

import click
import pytest

from earnbook.jobs.cli import COMMANDS, cli
from tests.support.command_line import run_command
from tests.support.commands_page import PAGE, commands, commands_markdown

ALL = [pytest.param(words, command, id=" ".join(words)) for words, command in commands(cli)]


def examples(help_text: str) -> list[list[str]]:
    """The words after `earnbook` of every example in a help text."""
    _, _, text = help_text.partition("Examples:")
    text = text.replace("\\\n", " ")
    found = [re.sub(r"^.*\| ", "", line.strip()) for line in text.splitlines() if "earnbook " in line]
    return [shlex.split(line)[1:] for line in found]


@pytest.mark.parametrize("words, command", ALL)
def test_help_has_an_example_of_this_command(words: tuple[str, ...], command: click.Command) -> None:
    shown = run_command(*words, "--help")
    assert shown.exit_code == 0
    of_this = [example for example in examples(command.help or "") if tuple(example[: len(words)]) == words]
    assert of_this, f"no example of `earnbook {' '.join(words)}`"


@pytest.mark.parametrize("words, command", ALL)
def test_examples_use_only_options_that_exist(words: tuple[str, ...], command: click.Command) -> None:
    known = {words: command} | dict(commands(cli))
    for example in examples(command.help or ""):
        owner = max((w for w in known if tuple(example[: len(w)]) == w), key=len)
        options = {option for parameter in known[owner].params for option in parameter.opts}
        used = {word.partition("=")[0] for word in example[len(owner) :] if re.match(r"--?[a-z]", word)}
        assert used <= options, f"{' '.join(example)}: unknown {used - options}"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_command_says(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert (command.help or "").splitlines()[0] == COMMANDS[name].help


def test_the_list_of_commands_is_shown_without_importing_them() -> None:
    text = run_command("--help").stdout
    assert all(name in text for name in COMMANDS)


def test_an_unknown_command_is_a_usage_mistake_that_names_the_known_ones() -> None:
    result = run_command("runn")
    assert result.exit_code == 2
    assert "No such command 'runn'. Commands: run, stream, advance, retry, verify" in result.stderr


def test_the_page_of_commands_is_what_the_commands_say() -> None:
    said = commands_markdown()
    assert PAGE.read_text(encoding="utf-8") == said, "run: python -m tests.support.commands_page"
