"""Whether another CEL implementation reads an expression: a second opinion from cel-python's grammar.

Our own parser decides what is accepted (see `rules.parse`). This only tells authors who share their rules with other
tools which expressions those may refuse: optionals, back-quoted fields, trailing commas and some escapes are ours to
read, and not everybody's. Nothing is evaluated.
"""

from __future__ import annotations

from functools import cache

from celpy.celparser import CELParseError, CELParser

from earnbook.rules.syntax import Expression


def is_portable(expression: Expression) -> bool:
    """Whether cel-python's grammar accepts the expression as well."""
    try:
        _parser().parse(expression.text)
    except CELParseError:
        return False
    return True


@cache
def _parser() -> CELParser:
    """Made once: building the grammar takes longer than parsing."""
    return CELParser()
