"""From the text of a CEL expression to its syntax tree (§11).

A recursive descent parser of our own. cel-python's grammar knows neither optional access (`.?`, `[?]`), nor back-quoted
fields, nor trailing commas, reads some escapes wrongly, and reports mistakes by listing grammar rules. Here each of the
usual mistakes has its own message and remedy, every node its exact span, and macros become nodes of their own.

Long chains of `&&` and `||` become balanced trees, which have the same value (errors are absorbed wherever they stand)
and are never deep. Size and depth are limited (§11.5), so that every later stage may recurse.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

from earnbook.rules.issues import IssueError, cel_syntax, cel_too_large
from earnbook.rules.parse_block import SLOT, with_block_names
from earnbook.rules.parse_lex import Token, TokenKind, integer_too_large, lex
from earnbook.rules.parse_mistakes import BIND_USAGE, BLOCK_USAGE, WORD_OPERATORS, macro_usage, unexpected
from earnbook.rules.parse_words import MACROS, NAMESPACES, PRECEDENCE, RESERVED
from earnbook.rules.syntax import (
    Bind,
    Call,
    Comprehension,
    Constant,
    Expression,
    Has,
    Index,
    ListLiteral,
    Literal,
    MapLiteral,
    Name,
    Node,
    Select,
    Span,
    Uint,
)

NODES_MAX = 10_000
"""Nodes of one expression (§11.5)."""

DEPTH_MAX = 120
"""Levels of nesting of one expression; a chain of `+` counts one level per operator."""

TEXT_MAX = 100_000
"""Characters of one expression."""

_CALLS_MAX = 4_000
"""Python calls within one another that any stage may need: up to ten per level of `DEPTH_MAX`, and the callers'."""


def parse_expression(text: str, *, macros: bool = True) -> Expression:
    """The syntax tree of `text`; raises IssueError with a CEL_SYNTAX or CEL_TOO_LARGE issue that has a span.

    Without `macros` what looks like one is a call as any other; rules always have them.
    """
    if len(text) > TEXT_MAX:
        message = f"an expression of more than {TEXT_MAX:,} characters"
        raise IssueError([cel_too_large(text, Span(0, len(text)), message, "split the rule into several")])
    if sys.getrecursionlimit() < _CALLS_MAX:
        sys.setrecursionlimit(_CALLS_MAX)  # The usual 1,000 are too few for a legal expression of nested calls.
    parser = _Parser(text, with_block_names(lex(text)), macros)
    return Expression(text, parser.parse())


class _Parser:
    """The state of one parse: tokens, position, the variables that macros bind here, and the depth of each node."""

    def __init__(self, text: str, tokens: list[Token], has_macros: bool) -> None:
        self._text = text
        self._has_macros = has_macros
        self._tokens = tokens
        self._position = 0
        self._bound: list[str] = []
        self._depths: dict[int, int] = {}
        self._levels = 0

    def parse(self) -> Node:
        if self._token.kind is TokenKind.END:
            self._fail(self._token.span, "the expression is empty", "write a value, a comparison or true")
        root = self._expression()
        if self._position < len(self._tokens) - 1:
            self._unexpected("an operator or the end")
        return root

    # Tokens

    @property
    def _token(self) -> Token:
        return self._tokens[self._position]

    def _advance(self) -> Token:
        token = self._tokens[self._position]
        if token.kind is not TokenKind.END:
            self._position += 1
        return token

    def _at(self, *operators: str) -> bool:
        return self._token.kind is TokenKind.OPERATOR and self._token.text in operators

    def _accept(self, operator: str) -> bool:
        if self._at(operator):
            self._position += 1
            return True
        return False

    def _close(self, opening: Token, closing: str) -> None:
        """The closing bracket; without it the issue points at the opening one."""
        if self._accept(closing):
            return
        if self._token.kind is TokenKind.END:
            self._fail(opening.span, f"this `{opening.text}` is never closed", f"add the missing `{closing}`")
        self._unexpected(f"an operator, `,` or `{closing}`")

    @property
    def _last_end(self) -> int:
        return self._tokens[self._position - 1].end

    # Nodes

    def _fields(self, start: int, children: Sequence[Node]) -> tuple[int, Span]:
        """Id and span of a new node that ends at the last token; checks the limits."""
        number = len(self._depths)
        span = Span(start, self._last_end)
        depth = 1 + max((self._depths[child.id] for child in children), default=0)
        if number >= NODES_MAX:
            message = f"an expression of more than {NODES_MAX:,} parts"
            raise IssueError([cel_too_large(self._text, span, message, "split the rule into several")])
        if depth > DEPTH_MAX:
            self._too_deep(span)
        self._depths[number] = depth
        return number, span

    def _call(self, function: str, target: Node | None, arguments: Sequence[Node], start: int) -> Call:
        children = arguments if target is None else [target, *arguments]
        number, span = self._fields(start, children)
        return Call(id=number, span=span, function=function, target=target, arguments=tuple(arguments))

    def _literal(self, value: Constant, start: int) -> Literal:
        number, span = self._fields(start, ())
        return Literal(id=number, span=span, value=value)

    # Grammar, from the loosest operator to the tightest

    def _expression(self) -> Node:
        """`condition ? value : other`, chained to the right without recursion."""
        self._levels += 1
        if self._levels > DEPTH_MAX:
            self._too_deep(self._token.span)
        branches: list[tuple[Node, Node]] = []
        starts: list[int] = []
        while True:
            start = self._token.start
            node = self._binary(1)
            if not self._accept("?"):
                break
            starts.append(start)
            branch = self._binary(1)
            if not self._accept(":"):
                self._unexpected("`:` and the value for when the condition is false")
            branches.append((node, branch))
        for (condition, branch), start in zip(reversed(branches), reversed(starts), strict=True):
            node = self._call("_?_:_", None, (condition, branch, node), start)
        self._levels -= 1
        return node

    def _binary(self, minimum: int) -> Node:
        """Operators of at least this precedence, all left-associative."""
        start = self._token.start
        left = self._unary()
        while (precedence := self._operator_precedence()) >= minimum:
            operator = self._token.text
            if operator in ("&&", "||"):
                left = self._chain(left, operator, precedence, start)
                continue
            self._advance()
            right = self._binary(precedence + 1)
            left = self._call("@in" if operator == "in" else f"_{operator}_", None, (left, right), start)
        return left

    def _operator_precedence(self) -> int:
        token = self._token
        if token.kind is TokenKind.OPERATOR or (token.kind is TokenKind.NAME and token.text == "in"):
            return PRECEDENCE.get(token.text, 0)
        return 0

    def _chain(self, first: Node, operator: str, precedence: int, start: int) -> Node:
        operands = [first]
        starts = [start]
        while self._at(operator):
            self._advance()
            starts.append(self._token.start)
            operands.append(self._binary(precedence + 1))
        return self._balanced(f"_{operator}_", operands, starts)

    def _balanced(self, function: str, operands: Sequence[Node], starts: Sequence[int]) -> Node:
        if len(operands) == 1:
            return operands[0]
        half = (len(operands) + 1) // 2
        left = self._balanced(function, operands[:half], starts[:half])
        right = self._balanced(function, operands[half:], starts[half:])
        number, _ = self._fields(starts[0], (left, right))
        span = Span(starts[0], max(operands[-1].span.end, right.span.end))
        return Call(id=number, span=span, function=function, target=None, arguments=(left, right))

    def _unary(self) -> Node:
        """`!x` and `-x`; a minus sign directly before a number belongs to the number."""
        operators: list[Token] = []
        while self._at("!", "-"):
            if self._token.text == "-" and self._tokens[self._position + 1].is_number:
                break
            operators.append(self._advance())
        node = self._postfix()
        for operator in reversed(operators):
            node = self._call(f"{operator.text}_", None, (node,), operator.start)
        return node

    def _postfix(self) -> Node:
        start = self._token.start
        node = self._primary()
        while True:
            if self._accept("."):
                node = self._member(node, start)
            elif self._at("["):
                node = self._index(node, start)
            elif self._at("{") and isinstance(node, Name | Select):
                span = Span(start, self._token.end)
                self._fail(span, "messages are not available", "write a map: {'field': value}")
            else:
                return node

    def _member(self, operand: Node, start: int) -> Node:
        """What follows a dot: a field, an optional field, a method or a macro."""
        optional = self._accept("?")
        token = self._token
        if token.kind is TokenKind.FIELD or (
            token.kind is TokenKind.LITERAL and token.text in ("true", "false", "null")
        ):
            self._advance()
        elif token.kind is TokenKind.NAME and (token.text != "in"):
            self._advance()
            if self._at("(") and not optional:
                return self._method(operand, token, start)
        else:
            self._unexpected("a field name after the dot")
        number, span = self._fields(start, (operand,))
        return Select(id=number, span=span, operand=operand, field=token.text, optional=optional)

    def _index(self, operand: Node, start: int) -> Node:
        opening = self._advance()
        optional = self._accept("?")
        key = self._expression()
        self._close(opening, "]")
        number, span = self._fields(start, (operand, key))
        return Index(id=number, span=span, operand=operand, index=key, optional=optional)

    def _method(self, target: Node, name: Token, start: int) -> Node:
        if self._has_macros and isinstance(target, Name) and target.name == "cel" and name.text in ("bind", "block"):
            return self._bind(start) if name.text == "bind" else self._block(start)
        if isinstance(target, Name) and target.name in NAMESPACES and target.name not in self._bound:
            return self._call(f"{target.name}.{name.text}", None, self._arguments(), start)
        if self._has_macros and name.text in MACROS:
            return self._macro(target, name, start)
        return self._call(name.text, target, self._arguments(), start)

    def _arguments(self) -> list[Node]:
        opening = self._advance()
        return self._items(opening, ")")

    def _items(self, opening: Token, closing: str) -> list[Node]:
        items: list[Node] = []
        while not self._at(closing):
            items.append(self._expression())
            if not self._accept(","):
                break
        self._close(opening, closing)
        return items

    def _macro(self, range_: Node, name: Token, start: int) -> Node:
        """`range.macro(variables, …)`: the variables are bound while the rest is parsed."""
        opening = self._advance()
        forms = MACROS[name.text]
        variables = self._macro_variables(name, max(count for _, count in forms))
        self._bound += variables
        rest = self._items(opening, ")")
        del self._bound[len(self._bound) - len(variables) :]
        if (len(variables) + len(rest), len(variables)) not in forms:
            self._fail(Span(name.start, self._last_end), *macro_usage(name.text))
        macro = "exists_one" if name.text == "existsOne" else name.text
        body, transform = rest[0], None
        if macro in ("map", "transformList", "transformMap", "transformMapEntry", "sortBy"):
            # The body is the filter, which may be left out; the transform is what becomes of each element.
            body, transform = rest if len(rest) == 2 else (self._literal(True, name.start), rest[0])
        number, span = self._fields(start, (range_, *rest))
        return Comprehension(
            id=number,
            span=span,
            macro=macro,
            range=range_,
            variables=tuple(variables),
            body=body,
            transform=transform,
        )

    def _macro_variables(self, macro: Token, count_max: int) -> list[str]:
        """The plain names at the start of a macro's arguments, each followed by a comma."""
        names: list[str] = []
        while len(names) < count_max and self._token.kind is TokenKind.NAME and self._token.text not in RESERVED:
            comma = self._tokens[self._position + 1]
            if not (comma.kind is TokenKind.OPERATOR and comma.text == ","):
                break
            if self._token.text in names:
                self._fail(self._token.span, "the two variables have the same name", "name them differently")
            names.append(self._advance().text)
            self._advance()
        if not names:
            self._fail(Span(macro.start, self._token.end), *macro_usage(macro.text))
        return names

    def _bind(self, start: int) -> Node:
        opening = self._advance()
        variable = self._token
        if variable.kind is not TokenKind.NAME or variable.text in RESERVED:
            self._fail(Span(start, variable.end), *BIND_USAGE)
        self._advance()
        if not self._accept(","):
            self._fail(Span(start, variable.end), *BIND_USAGE)
        value = self._expression()
        if not self._accept(","):
            self._fail(Span(start, self._last_end), *BIND_USAGE)
        self._bound.append(variable.text)
        body = self._expression()
        self._bound.pop()
        self._accept(",")
        self._close(opening, ")")
        number, span = self._fields(start, (value, body))
        return Bind(id=number, span=span, name=variable.text, value=value, body=body)

    def _block(self, start: int) -> Node:
        """`cel.block([a, b], result)`: nested bindings of the slots, each of which may read those before it."""
        arguments = self._arguments()
        if len(arguments) != 2 or not isinstance(arguments[0], ListLiteral):
            self._fail(Span(start, self._last_end), *BLOCK_USAGE)
        slots, node = arguments[0].items, arguments[1]
        for position in reversed(range(len(slots))):
            number, span = self._fields(start, (slots[position], node))
            node = Bind(id=number, span=span, name=f"{SLOT}{position}", value=slots[position], body=node)
        return node

    def _primary(self) -> Node:
        token = self._token
        if token.kind is TokenKind.LITERAL or self._at("-"):
            return self._number_or_literal()
        if token.kind is TokenKind.NAME:
            return self._name(token.start)
        if self._accept("."):
            return self._name(token.start, absolute=True)
        if self._accept("("):
            node = self._expression()
            self._close(token, ")")
            return node
        if self._accept("["):
            return self._list(token)
        if self._accept("{"):
            return self._map(token)
        return self._unexpected("a value")

    def _number_or_literal(self) -> Node:
        start = self._token.start
        negative = self._accept("-")
        token = self._advance()
        value = token.value
        if negative and isinstance(value, int) and not isinstance(value, Uint):
            return self._literal(-value, start)
        if negative and value is not None and not isinstance(value, int | str | bytes):
            return self._literal(value.copy_negate() if value else value, start)
        if type(value) is int and value == 2**63:
            raise IssueError([integer_too_large(self._text, token.span)])
        return self._literal(value, start)

    def _name(self, start: int, *, absolute: bool = False) -> Node:
        """A variable or a function call; `.x` is the variable x even where a macro binds x."""
        token = self._advance()
        if token.kind is not TokenKind.NAME:
            self._position -= token.kind is not TokenKind.END
            self._unexpected("a name after the dot")
        if token.text in RESERVED:
            remedy = WORD_OPERATORS.get(token.text, "choose another name")
            self._fail(token.span, f"`{token.text}` is a reserved word", remedy)
        if self._at("("):
            return self._function(token, start)
        if token.text in ("not", "NOT") and self._starts_operand():
            self._fail(token.span, f"`{token.text}` is not an operator", "write `!` for not")
        number, span = self._fields(start, ())
        shadowed = absolute and token.text in self._bound
        return Name(id=number, span=span, name=f".{token.text}" if shadowed else token.text)

    def _starts_operand(self) -> bool:
        return self._token.kind in (TokenKind.NAME, TokenKind.LITERAL)

    def _function(self, name: Token, start: int) -> Node:
        if self._has_macros and name.text == "has":
            return self._has(start)
        arguments = self._arguments()
        if name.text == "now" and not arguments:
            number, span = self._fields(start, ())
            return Name(id=number, span=span, name="now")
        return self._call(name.text, None, arguments, start)

    def _has(self, start: int) -> Node:
        arguments = self._arguments()
        field = arguments[0] if len(arguments) == 1 else None
        if not isinstance(field, Select) or field.optional:
            span = Span(start, self._last_end)
            self._fail(span, "has() takes one field selection", "write has(event.field), or 'key' in map for a key")
        number, span = self._fields(start, (field.operand,))
        return Has(id=number, span=span, operand=field.operand, field=field.field)

    def _list(self, opening: Token) -> Node:
        items: list[Node] = []
        optional: list[int] = []
        while not self._at("]"):
            if self._accept("?"):
                optional.append(len(items))
            items.append(self._expression())
            if not self._accept(","):
                break
        self._close(opening, "]")
        number, span = self._fields(opening.start, items)
        return ListLiteral(id=number, span=span, items=tuple(items), optional_indices=tuple(optional))

    def _map(self, opening: Token) -> Node:
        entries: list[tuple[Node, Node]] = []
        optional: list[int] = []
        while not self._at("}"):
            if self._accept("?"):
                optional.append(len(entries))
            key = self._expression()
            if not self._accept(":"):
                self._unexpected("`:` and the value of this key")
            entries.append((key, self._expression()))
            if not self._accept(","):
                break
        self._close(opening, "}")
        number, span = self._fields(opening.start, [node for entry in entries for node in entry])
        return MapLiteral(id=number, span=span, entries=tuple(entries), optional_indices=tuple(optional))

    # Mistakes

    def _fail(self, span: Span, message: str, remedy: str) -> NoReturn:
        raise IssueError([cel_syntax(self._text, span, message, remedy)])

    def _too_deep(self, span: Span) -> NoReturn:
        message = f"an expression nested more than {DEPTH_MAX} levels deep"
        raise IssueError([cel_too_large(self._text, span, message, "split the rule, or name parts with cel.bind")])

    def _unexpected(self, wanted: str) -> NoReturn:
        raise IssueError([unexpected(self._text, self._tokens, self._position, wanted)])
