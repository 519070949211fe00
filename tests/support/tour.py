"""Pages whose commands are run: a `console` block holds commands after `$ ` and, below each, lines of its output.

The lines occur in this order, other lines between them left out, runs of blanks alike, `…` standing for anything.
"""

from __future__ import annotations

import re
import shlex
from glob import glob


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)


def steps_of(page: str) -> list[tuple[str, list[str]]]:
    """Every command of a page with the output lines below it."""
    steps: list[tuple[str, list[str]]] = []
    for line in "".join(blocks(page, "console")).splitlines():
        if line.startswith("$ "):
            steps.append((line[2:], []))
        elif line.strip():
            steps[-1][1].append(line)
    return steps


def words_of(command: str) -> list[str]:
    """The command's words after `earnbook`, with file patterns expanded as a shell does."""
    program, *words = shlex.split(command)
    assert program == "earnbook", command
    return [path for word in words for path in (sorted(glob(word)) if "*" in word and " " not in word else [word])]


def _pattern(line: str) -> re.Pattern[str]:
    parts = [re.escape(" ".join(part.split())) for part in line.strip().split("…")]
    return re.compile("^" + ".*".join(parts) + "$")


def assert_shows(output: str, expected: list[str]) -> None:
    """Every expected line occurs, in order."""
    lines = iter([" ".join(line.split()) for line in output.splitlines()])
    for line in expected:
        wanted = _pattern(line)
        assert any(wanted.match(shown) for shown in lines), f"no line like {line!r}, in this order, in:\n{output}"
