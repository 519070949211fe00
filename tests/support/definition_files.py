"""Small definition files for tests: one organization, three assets, two programs, and what a test adds."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent

from earnbook.rules.definitions import check_definitions
from earnbook.rules.issues import Issue

HEAD = """\
organization: {key: demo, name: Demo}
assets:
  - {symbol: PTS, name: Points, scale: 2, inventory_mode: LOT, issuance_policy: UNLIMITED, programs: [loyalty]}
  - {symbol: USD, name: Dollars, scale: 2, inventory_mode: SIMPLE, issuance_policy: UNLIMITED, programs: [loyalty]}
  - {symbol: FAR, name: Elsewhere, scale: 0, inventory_mode: LOT, issuance_policy: PREFUNDED, programs: [other]}
programs:
  - {key: other, name: Other}
  - key: loyalty
    name: Loyalty
"""
"""Nine lines: what follows is indented under program loyalty and begins at line 10."""

FIRST = HEAD.count("\n") + 1


def check(tmp_path: Path, inside: str) -> list[Issue]:
    """The issues of a program with these further fields."""
    file = tmp_path / "rules.yaml"
    file.write_text(HEAD + indent(dedent(inside), "    "))
    definitions, issues = check_definitions(file)
    assert (definitions is None) == any(issue.is_error for issue in issues)
    return issues


def rule(fields: str) -> str:
    """A program's rules with one rule of these fields; an action with line breaks stands in its own line."""
    return f"rules:\n  - {{key: base, name: Base, {fields}}}\n"


def action(text: str) -> str:
    return rule(f"condition: 'true', actions: [{text}]")


CREDIT = "{type: CREDIT, asset: PTS, amount: 5}"
