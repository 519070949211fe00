"""What went wrong where the parser stopped, said so that the author of a rule can mend it.

Most mistakes in rules are habits from other languages or from spreadsheets: `and`, `=`, a missing bracket, a word
without quotes. Each of them is recognised here and gets its own remedy. Nothing here decides whether an expression is
accepted.
"""

from __future__ import annotations

from collections.abc import Sequence

from earnbook.rules.issues import Issue, cel_syntax
from earnbook.rules.parse_lex import Token, TokenKind

WORD_OPERATORS = {
    "and": "write `&&` for and",
    "AND": "write `&&` for and",
    "or": "write `||` for or",
    "OR": "write `||` for or",
    "not": "write `!` for not, and `!(x in list)` for not in",
    "NOT": "write `!` for not, and `!(x in list)` for not in",
    "is": "write `==` to compare",
    "mod": "write `%` for the remainder",
    "if": "write `condition ? value : other`",
}
"""Words that other languages use as operators, and what to write instead."""

BIND_USAGE = (
    "cel.bind takes a name, its value, and the expression that uses it",
    "write cel.bind(x, event.amount * 2, x + 1)",
)
"""Message and remedy for a cel.bind with other arguments."""

BLOCK_USAGE = (
    "cel.block takes a list of shared parts and the expression that uses them",
    "write cel.block([event.amount * 2], cel.index(0) + 1)",
)
"""Message and remedy for a cel.block with other arguments."""

_MACRO_EXAMPLES = {
    "map": "list.map(x, x * 2) or list.map(x, x > 0, x * 2)",
    "transformList": "list.transformList(i, x, x * 2)",
    "transformMap": "map.transformMap(k, v, v * 2)",
    "transformMapEntry": "map.transformMapEntry(k, v, {v: k})",
    "sortBy": "list.sortBy(x, x.name)",
    "optMap": "event.?amount.optMap(x, x * 2)",
    "optFlatMap": "event.?address.optFlatMap(a, a.?city)",
}


def macro_usage(macro: str) -> tuple[str, str]:
    """Message and remedy for a macro with the wrong arguments."""
    example = _MACRO_EXAMPLES.get(macro, f"list.{macro}(x, x > 0)")
    return f"{macro}() takes a variable's name and an expression over it", f"write {example}"


def unexpected(text: str, tokens: Sequence[Token], position: int, wanted: str) -> Issue:
    """The issue of a token that cannot stand where it stands; `wanted` says what could."""
    token = tokens[position]
    before = tokens[position - 1] if position else None
    if token.kind is TokenKind.END:
        span = before.span if before else token.span
        return cel_syntax(text, span, f"the expression ends where {wanted} is expected", "complete or shorten it")
    if token.kind is TokenKind.NAME and token.text in WORD_OPERATORS:
        return cel_syntax(text, token.span, f"`{token.text}` is not an operator", WORD_OPERATORS[token.text])
    if token.text in (")", "]", "}") and token.kind is TokenKind.OPERATOR:
        if before is not None and before.kind is TokenKind.OPERATOR and before.text not in (")", "]", "}"):
            message = f"a value is missing between `{before.text}` and `{token.text}`"
            return cel_syntax(text, token.span, message, "complete the expression")
        message = f"there is no opening bracket for this `{token.text}`"
        return cel_syntax(text, token.span, message, "remove it, or open the bracket earlier")
    remedy = _remedy(token, before)
    return cel_syntax(text, token.span, f"`{token.text}` cannot stand here; {wanted} is expected", remedy)


def _remedy(token: Token, before: Token | None) -> str:
    if before is None:
        return "start with a value, such as event.amount"
    if before.text == "." and token.kind is TokenKind.LITERAL:
        return "write ['name'] for a field that is no plain word, and [0] for an element"
    if before.kind is not TokenKind.OPERATOR and token.kind is not TokenKind.OPERATOR:
        return "put an operator between the two values, such as `==` or `&&`; texts need quotes"
    if before.kind is TokenKind.OPERATOR and token.kind is TokenKind.OPERATOR:
        return f"there is no value between `{before.text}` and `{token.text}`"
    return "check the operators and brackets before it"
