"""From the text of an expression to tokens: names, numbers, texts, bytes and operators, each with its exact span.

Literals get their values here: integers within 64 bits, doubles as exact decimals (§5.1), all quoting and escape forms.
Mistakes that people make who come from other languages are recognised by name, so that the remedy can be named too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, auto

from earnbook.rules.issues import Issue, IssueError, cel_syntax, cel_too_large
from earnbook.rules.syntax import Constant, Span, Uint

NUMBER_DIGITS_MAX = 1024
"""Digits a number literal may write; no evaluation can use more (§5.2)."""

NUMBER_EXPONENT_MAX = 99_999

UINT_MAX = 2**64 - 1


class TokenKind(Enum):
    """What a token is."""

    NAME = auto()
    FIELD = auto()
    LITERAL = auto()
    OPERATOR = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class Token:
    """A token; `text` is the operator, the name or the back-quoted field, `value` the value of a literal.

    The value of an integer literal is not yet checked against int64, because a minus sign may stand before it.
    """

    kind: TokenKind
    text: str
    start: int
    end: int
    value: Constant = None

    @property
    def span(self) -> Span:
        """Where the token stands."""
        return Span(self.start, self.end)

    @property
    def is_number(self) -> bool:
        """Whether a minus sign before it belongs to the literal."""
        return self.kind is TokenKind.LITERAL and type(self.value) in (int, Decimal)


_SPACE = re.compile(r"(?:[ \t\r\n\f]+|//[^\n]*)+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FIELD = re.compile(r"`([A-Za-z0-9_.\-/ ]+)`")
_QUOTE = re.compile(r"(?P<prefix>[rR][bB]?|[bB][rR]?)?(?P<quote>\"\"\"|'''|\"|')")
_DOUBLE = re.compile(r"(?:[0-9]+\.[0-9]+|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+")
_INTEGER = re.compile(r"(?:0[xX](?P<hex>[0-9a-fA-F]+)|(?P<decimal>[0-9]+))(?P<unsigned>[uU])?")
_OPERATOR = re.compile(r"&&|\|\||==|!=|<=|>=|[-+*/%<>!?:.,()\[\]{}]")
_WORD_AFTER_NUMBER = re.compile(r"[A-Za-z_0-9]+")

_ESCAPE = re.compile(
    r"\\(?:(?P<simple>[abfnrtv\\'\"`?])|[xX](?P<hex>[0-9a-fA-F]{2})|(?P<octal>[0-3][0-7]{2})"
    r"|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8}))"
)
_SIMPLE_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}

_STRANGE_OPERATORS = (
    ("===", "write `==` to compare"),
    ("!==", "write `!=` to compare"),
    ("=>", "write `>=` for greater or equal"),
    ("=<", "write `<=` for less or equal"),
    ("=", "write `==` to compare; an expression cannot assign"),
    ("&", "write `&&` for and"),
    ("|", "write `||` for or"),
    (";", "one expression has no statements; remove the `;`"),
    ("^", "there is no power operator; multiply instead"),
    ("~", "write `!` for not"),
    ("$", "variables have no `$`; write for example `event.amount`"),
    ("@", "write a path such as `event.amount`"),
    ("#", "comments start with `//`"),
    ("“", "use straight quotes: ' or \""),
    ("”", "use straight quotes: ' or \""),
    ("‘", "use straight quotes: ' or \""),
    ("’", "use straight quotes: ' or \""),
    ("`", "back quotes are for field names after a dot, with letters, digits, `_ . - /` and spaces"),
    ("\\", "a backslash belongs inside quotes"),
    ("×", "write `*` to multiply"),
    ("≥", "write `>=`"),
    ("≤", "write `<=`"),
    ("≠", "write `!=`"),
)


def lex(text: str) -> list[Token]:
    """The tokens of `text`, closed by an END token; raises IssueError with one CEL_SYNTAX issue."""
    return list(_tokens(text))


def _tokens(text: str) -> Iterator[Token]:
    position = 0
    while True:
        if space := _SPACE.match(text, position):
            position = space.end()
        if position >= len(text):
            yield Token(TokenKind.END, "", len(text), len(text))
            return
        token = _quoted(text, position) or _number(text, position) or _symbol(text, position)
        if token is None:
            raise IssueError([_strange(text, position)])
        yield token
        position = token.end


def _symbol(text: str, start: int) -> Token | None:
    """A name, a keyword literal, a back-quoted field or an operator."""
    if name := _NAME.match(text, start):
        word = name.group()
        if word in ("true", "false", "null"):
            value = {"true": True, "false": False}.get(word)
            return Token(TokenKind.LITERAL, word, start, name.end(), value)
        return Token(TokenKind.NAME, word, start, name.end())
    if field := _FIELD.match(text, start):
        return Token(TokenKind.FIELD, field.group(1), start, field.end())
    if any(text.startswith(strange, start) for strange in ("===", "!==")):
        return None
    if operator := _OPERATOR.match(text, start):
        return Token(TokenKind.OPERATOR, operator.group(), start, operator.end())
    return None


def _number(text: str, start: int) -> Token | None:
    """A number literal; anything glued to it is an issue of its own."""
    if double := _DOUBLE.match(text, start):
        token = Token(TokenKind.LITERAL, double.group(), start, double.end(), _double(text, double))
    elif integer := _INTEGER.match(text, start):
        token = Token(TokenKind.LITERAL, integer.group(), start, integer.end(), _integer(text, integer))
    else:
        return None
    rest = _WORD_AFTER_NUMBER.match(text, token.end)
    if rest is not None:
        span = Span(start, rest.end())
        raise IssueError(
            [cel_syntax(text, span, f"`{text[start : rest.end()]}` is not a number", _number_remedy(rest))]
        )
    return token


def _number_remedy(rest: re.Match[str]) -> str:
    if rest.group().startswith("_"):
        return "write the digits without separators"
    if rest.group()[0] in "hmsd":
        return "write a duration as duration('24h')"
    return "write plain digits, such as 10 or 0.05"


def _double(text: str, match: re.Match[str]) -> Decimal:
    mantissa, _, exponent = match.group().lower().partition("e")
    span = Span(*match.span())
    if len(mantissa) > NUMBER_DIGITS_MAX:
        raise IssueError([cel_too_large(text, span, _TOO_LONG, "write fewer digits")])
    if exponent and (len(exponent) > 9 or abs(int(exponent)) > NUMBER_EXPONENT_MAX):
        raise IssueError([cel_too_large(text, span, "the exponent is too large", "write a number of usual size")])
    return Decimal(match.group())


def _integer(text: str, match: re.Match[str]) -> int | Uint:
    span = Span(*match.span())
    if len(match.group()) > NUMBER_DIGITS_MAX:
        raise IssueError([cel_too_large(text, span, _TOO_LONG, "write fewer digits")])
    value = int(match.group("hex"), 16) if match.group("hex") else int(match.group("decimal"))
    if value > UINT_MAX or (not match.group("unsigned") and value > 2**63):
        raise IssueError([integer_too_large(text, span)])
    return Uint(value) if match.group("unsigned") else value


_TOO_LONG = f"a number of more than {NUMBER_DIGITS_MAX:,} digits"


def integer_too_large(text: str, span: Span) -> Issue:
    """An integer literal outside 64 bits."""
    remedy = f"write it as a decimal: {text[span.start : span.end].rstrip('uU')}.0"
    return cel_syntax(text, span, "an integer literal must fit 64 bits", remedy)


def _quoted(text: str, start: int) -> Token | None:
    """A text or bytes literal in any of its forms."""
    opening = _QUOTE.match(text, start)
    if opening is None:
        return None
    prefix = (opening.group("prefix") or "").lower()
    quote = opening.group("quote")
    end = _closing(text, opening.end(), quote, raw="r" in prefix)
    if end < 0:
        first = text.find("\n", start) if len(quote) == 1 else -1
        span = Span(start, first if first >= 0 else len(text))
        raise IssueError([cel_syntax(text, span, f"this text has no closing {quote}", f"close it with {quote}")])
    inner = Span(opening.end(), end)
    value = _bytes(text, inner, "r" in prefix) if "b" in prefix else _text(text, inner, "r" in prefix)
    return Token(TokenKind.LITERAL, text[start : end + len(quote)], start, end + len(quote), value)


def _closing(text: str, position: int, quote: str, *, raw: bool) -> int:
    """Where the closing quote starts, or -1; a single quote does not reach over the end of a line."""
    while position < len(text):
        if text.startswith(quote, position):
            return position
        if text[position] == "\n" and len(quote) == 1:
            return -1
        position += 2 if text[position] == "\\" and not raw else 1
    return -1


def _text(text: str, inner: Span, raw: bool) -> str:
    parts: list[str] = []
    for part in _parts(text, inner, raw):
        if isinstance(part, str):
            parts.append(part)
            continue
        code = _escape_code(part)
        if 0xD800 <= code <= 0xDFFF or code > 0x10FFFF:
            span = Span(*part.span())
            raise IssueError([cel_syntax(text, span, "this escape is no character", "use \\U with 8 hex digits")])
        parts.append(chr(code))
    return "".join(parts)


def _bytes(text: str, inner: Span, raw: bool) -> bytes:
    parts: list[bytes] = []
    for part in _parts(text, inner, raw):
        if isinstance(part, str):
            parts.append(part.encode())
            continue
        if part.group("short") or part.group("long"):
            span = Span(*part.span())
            raise IssueError([cel_syntax(text, span, "bytes have no \\u escapes", "write the bytes as \\x..")])
        parts.append(bytes((_escape_code(part),)))
    return b"".join(parts)


def _parts(text: str, inner: Span, raw: bool) -> Iterator[str | re.Match[str]]:
    """Plain stretches, with line ends as `\\n`, and matches of escapes, in turn."""
    position = inner.start
    while position < inner.end:
        backslash = -1 if raw else text.find("\\", position, inner.end)
        stop = backslash if backslash >= 0 else inner.end
        if stop > position:
            yield text[position:stop].replace("\r\n", "\n").replace("\r", "\n")
        if backslash < 0:
            return
        escape = _ESCAPE.match(text, backslash, inner.end)
        if escape is None:
            remedy = "write \\\\ for a backslash, or put r before the opening quote"
            raise IssueError([cel_syntax(text, Span(backslash, backslash + 2), "there is no such escape", remedy)])
        yield escape
        position = escape.end()


def _escape_code(escape: re.Match[str]) -> int:
    if simple := escape.group("simple"):
        return ord(_SIMPLE_ESCAPES.get(simple, simple))
    if octal := escape.group("octal"):
        return int(octal, 8)
    return int(escape.group("hex") or escape.group("short") or escape.group("long"), 16)


def _strange(text: str, start: int) -> Issue:
    """The issue for a character that no token starts with."""
    for strange, remedy in _STRANGE_OPERATORS:
        if text.startswith(strange, start):
            return cel_syntax(text, Span(start, start + len(strange)), f"`{strange}` is not an operator here", remedy)
    character = text[start]
    remedy = "remove it, or put it inside quotes"
    return cel_syntax(text, Span(start, start + 1), f"the character {character!r} is not part of the language", remedy)
