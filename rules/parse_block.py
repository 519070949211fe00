"""`cel.block([a, b, …], result)`: shared parts of an expression in numbered slots, as optimizers of CEL write it.

`cel.index(n)` reads slot n, and `cel.iterVar(n, m)` and `cel.accuVar(n, m)` name the variables of macros. Each of them
is one word for the parser: here the tokens of such a call become one token with a name that no author can write.
"""

from __future__ import annotations

from collections.abc import Sequence

from earnbook.rules.parse_lex import Token, TokenKind

SLOT = "@index"
"""How the names of slots begin."""

_NUMBERS = {"index": 1, "iterVar": 2, "accuVar": 2}


def with_block_names(tokens: Sequence[Token]) -> list[Token]:
    """The tokens with `cel.index(n)` and its siblings as one name each."""
    made: list[Token] = []
    position = 0
    while position < len(tokens):
        count = _length(tokens, position)
        if count:
            numbers = [str(token.value) for token in tokens[position : position + count] if token.is_number]
            name = f"@{tokens[position + 2].text}{':'.join(numbers)}"
            first, last = tokens[position], tokens[position + count - 1]
            made.append(Token(TokenKind.NAME, name, first.start, last.end))
        else:
            made.append(tokens[position])
        position += count or 1
    return made


def _length(tokens: Sequence[Token], position: int) -> int:
    """How many tokens a call such as `cel.iterVar(0, 1)` takes that starts here; 0 when none does."""
    if tokens[position].text != "cel" or len(tokens) - position < 6:
        return 0
    count = _NUMBERS.get(tokens[position + 2].text, 0)
    call = tokens[position : position + 4 + 2 * count]
    texts = [token.text for token in call[1:]]
    wanted = [".", texts[1], "(", *[","] * (2 * count - 1), ")"] if count else []
    is_call = len(texts) == len(wanted) and all(
        token.is_number if at >= 4 and at % 2 == 0 else token.text == text
        for at, (token, text) in enumerate(zip(call[1:], wanted, strict=True), start=1)
    )
    return len(call) if is_call else 0
