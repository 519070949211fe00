"""From text to syntax tree: literals, precedence, macros, spans, limits, and what mistakes say (§11)."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earnbook.rules.check import Environment, check_expression
from earnbook.rules.issues import IssueCode, IssueError, render_issue
from earnbook.rules.lower_closure import evaluate
from earnbook.rules.parse import DEPTH_MAX, NODES_MAX, TEXT_MAX, parse_expression
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
    Uint,
)


def shape(node: Node) -> str:
    """The tree as nested text, without ids and spans."""
    match node:
        case Literal():
            return repr(node.value)
        case Name():
            return node.name
        case Select():
            return f"{shape(node.operand)}.{'?' if node.optional else ''}{node.field}"
        case Has():
            return f"has({shape(node.operand)}, {node.field})"
        case Index():
            return f"{shape(node.operand)}[{'?' if node.optional else ''}{shape(node.index)}]"
        case Call():
            target = "" if node.target is None else f"{shape(node.target)} "
            return f"({target}{' '.join([node.function, *map(shape, node.arguments)])})"
        case ListLiteral():
            return f"[{' '.join(map(shape, node.items))}]{node.optional_indices or ''}"
        case MapLiteral():
            return f"{{{' '.join(f'{shape(k)}:{shape(v)}' for k, v in node.entries)}}}{node.optional_indices or ''}"
        case Comprehension():
            parts = [shape(node.range), ",".join(node.variables), shape(node.body)]
            return f"({node.macro} {' '.join([*parts, *([shape(node.transform)] if node.transform else [])])})"
        case Bind():
            return f"(bind {node.name} {shape(node.value)} {shape(node.body)})"
        case _:
            raise AssertionError(node)


def nodes_of(expression: Expression) -> list[Node]:
    """Every node of the tree."""
    found: list[Node] = []

    def walk(value: object) -> None:
        if isinstance(value, Node):
            found.append(value)
            for name in type(value).__dataclass_fields__:
                walk(getattr(value, name))
        elif isinstance(value, tuple):
            for part in value:
                walk(part)

    walk(expression.root)
    return found


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("-5", -5),
        ("0x1F", 31),
        ("-0x10", -16),
        ("7u", Uint(7)),
        ("0XfFU", Uint(255)),
        ("9223372036854775807", 9223372036854775807),
        ("-9223372036854775808", -9223372036854775808),
        ("1.50", Decimal("1.50")),
        (".5", Decimal("0.5")),
        ("-1.5e-3", Decimal("-0.0015")),
        ("1E5", Decimal("1E5")),
        ("true", True),
        ("null", None),
        ("'it\\'s'", "it's"),
        ('"a\\n\\t\\\\\\x41\\101\\u00e9\\U0001F600"', "a\n\t\\AAé😀"),
        ("r'\\n'", "\\n"),
        ('R"\\d+"', "\\d+"),
        ("'''a'b\nc'''", "a'b\nc"),
        ('"""x"y"""', 'x"y'),
        ("'''a\r\nb'''", "a\nb"),
        ("b'abc\\xff\\377'", b"abc\xff\xff"),
        ("b'é'", "é".encode()),
        ("rb'\\x'", b"\\x"),
        ("bR'\\x'", b"\\x"),
        ("'a\\`b\\?'", "a`b?"),
        ("''", ""),
    ],
)
def test_literals(text: str, value: Constant) -> None:
    root = parse_expression(text).root
    assert isinstance(root, Literal)
    assert (type(root.value), root.value) == (type(value), value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", "(_+_ 1 (_*_ 2 3))"),
        ("1 - 2 - 3", "(_-_ (_-_ 1 2) 3)"),
        ("1-2", "(_-_ 1 2)"),
        ("a -1", "(_-_ a 1)"),
        ("-a.b", "(-_ a.b)"),
        ("- 5", "(-_ 5)".replace("(-_ 5)", "-5")),
        ("!a == b", "(_==_ (!_ a) b)"),
        ("!!a", "(!_ (!_ a))"),
        ("a < b == c", "(_==_ (_<_ a b) c)"),
        ("a || b && c", "(_||_ a (_&&_ b c))"),
        ("(a || b) && c", "(_&&_ (_||_ a b) c)"),
        ("a && b && c && d", "(_&&_ (_&&_ a b) (_&&_ c d))"),
        ("a ? b : c ? d : e", "(_?_:_ a b (_?_:_ c d e))"),
        ("a in b", "(@in a b)"),
        ("!(a in b)", "(!_ (@in a b))"),
        ("a.b[0].c", "a.b[0].c"),
        ("a.`x-y z`", "a.x-y z"),
        ("a.?b[?'c']", "a.?b[?'c']"),
        ("[1, ?a, 2,]", "[1 a 2](1,)"),
        ("{'a': 1, ?'b': c,}", "{'a':1 'b':c}(1,)"),
        ("f(1, 2)", "(f 1 2)"),
        ("a.f(1)", "(a f 1)"),
        ("math.greatest(1, 2)", "(math.greatest 1 2)"),
        ("sets.contains(a, b)", "(sets.contains a b)"),
        ("optional.of(1).orValue(2)", "((optional.of 1) orValue 2)"),
        ("now()", "now"),
        ("has(a.b.c)", "has(a.b, c)"),
        ("a.all(x, x > 0)", "(all a x (_>_ x 0))"),
        ("a.exists(i, x, x > i)", "(exists a i,x (_>_ x i))"),
        ("a.existsOne(x, x)", "(exists_one a x x)"),
        ("a.map(x, x * 2)", "(map a x True (_*_ x 2))"),
        ("a.map(x, x > 1, x * 2)", "(map a x (_>_ x 1) (_*_ x 2))"),
        ("a.filter(x, x > 1)", "(filter a x (_>_ x 1))"),
        ("a.transformMap(k, v, v)", "(transformMap a k,v True v)"),
        ("cel.bind(x, 1, x + x)", "(bind x 1 (_+_ x x))"),
        (".a", "a"),
        ("b.exists(a, .a == a)", "(exists b a (_==_ .a a))"),
        ("b.exists(math, math.abs(1))", "(exists b math (math abs 1))"),
        ("a // comment\n + b", "(_+_ a b)"),
    ],
)
def test_shapes(text: str, expected: str) -> None:
    assert shape(parse_expression(text).root) == expected


def test_ids_are_unique_and_spans_cover_the_text_of_their_node() -> None:
    text = "has(event.a) && event.items.exists(i, i.price > -1.5) ? round(event.b, 2) : [1, {'k': x}][0].k"
    expression = parse_expression(text)
    nodes = nodes_of(expression)
    assert len({node.id for node in nodes}) == len(nodes)
    shown = {text[node.span.start : node.span.end] for node in nodes}
    assert {"has(event.a)", "i.price > -1.5", "-1.5", "round(event.b, 2)", "[1, {'k': x}][0]", "event.items"} <= shown
    assert text[expression.root.span.start : expression.root.span.end] == text


def test_a_long_chain_stays_shallow() -> None:
    text = " || ".join(f"event.sku == 'sku-{number}'" for number in range(1500))
    assert evaluate(text, event={"sku": "sku-1499"}) is True
    assert evaluate(text, event={"sku": "none"}) is False


@pytest.mark.parametrize(
    "text",
    [
        "(" * (DEPTH_MAX + 1) + "1" + ")" * (DEPTH_MAX + 1),
        "[" * 5000 + "]" * 5000,
        "-" * 5000 + "x",
        " + ".join(["x"] * (DEPTH_MAX + 1)),
        " ? 1 : ".join(["true"] * 5000) + " ? 1 : 2",
        "[" + ",".join(["1"] * NODES_MAX) + "]",
        "1 " + " " * TEXT_MAX,
        "1e999999999",
        "1" * 2000,
    ],
)
def test_size_and_depth_are_limited(text: str) -> None:
    with pytest.raises(IssueError) as refused:
        parse_expression(text)
    assert [issue.code for issue in refused.value.issues] == [IssueCode.CEL_TOO_LARGE]


MISTAKES = [
    ("event.type = 'x'", "=", "write `==`"),
    ("event.type === 'x'", "===", "write `==`"),
    ("a and b", "and", "write `&&`"),
    ("a or b", "or", "write `||`"),
    ("not a", "not", "write `!`"),
    ("a not in b", "not", "!(x in list)"),
    ("a & b", "&", "write `&&`"),
    ("a | b", "|", "write `||`"),
    ("a => 5", "=>", "write `>=`"),
    ("a <> 5", ">", "no value between `<` and `>`"),
    ("a == 1;", ";", "remove the `;`"),
    ("$amount > 1", "$", "no `$`"),
    ("“x” == a", "“", "straight quotes"),
    ("event.amount ≥ 5", "≥", "write `>=`"),
    ("(a + b", "(", "missing `)`"),
    ("[1, 2", "[", "missing `]`"),
    ("{'a': 1", "{", "missing `}`"),
    ("f(1, 2", "(", "missing `)`"),
    ("a + b)", ")", "remove it"),
    ("f(1 2)", "2", "operator between"),
    ("'abc", "'abc", "close it with '"),
    ("'abc\n'", "'abc", "close it with '"),
    ("1 +", "+", "complete"),
    ("", "", "write a value"),
    ("   ", "", "write a value"),
    ("a ? b", "b", "complete"),
    ("a ? b : ", ":", "complete"),
    ("5%", "%", "complete"),
    ("24h > 1", "24h", "duration('24h')"),
    ("1_000", "1_000", "without separators"),
    ("9223372036854775808", "9223372036854775808", "as a decimal"),
    ("-9223372036854775809", "9223372036854775809", "as a decimal"),
    ("18446744073709551616u", "18446744073709551616u", "as a decimal"),
    ("'\\q'", "\\q", "write \\\\"),
    ("'\\ud800'", "\\ud800", "hex digits"),
    ("b'\\u00e9'", "\\u00e9", "\\x.."),
    ("event.first name", "name", "texts need quotes"),
    ("event.'a'", "'a'", "['name']"),
    ("event.", ".", "complete"),
    ("Foo{a: 1}", "Foo{", "write a map"),
    ("has(a)", "has(a)", "has(event.field)"),
    ("has(a.b, c)", "has(a.b, c)", "has(event.field)"),
    ("a.map(1)", "map(1", "write list.map"),
    ("a.all(x)", "all(x", "write list.all"),
    ("a.all(x, y, z, w)", "all(x, y, z, w)", "write list.all"),
    ("a.exists(x, x, true)", "x", "differently"),
    ("cel.bind(1, 2)", "cel.bind(1", "write cel.bind"),
    ("cel.bind(x, 2)", "cel.bind(x, 2", "write cel.bind"),
    ("if a: b", "if", "condition ? value"),
    ("for == 1", "for", "another name"),
    ("{'a' 1}", "1", ""),
    ("a.b.1", ".1", ""),
    ("a @ b", "@", "path"),
    ("a \\ b", "\\", "inside quotes"),
    ("§", "§", "inside quotes"),
]


@pytest.mark.parametrize(("text", "marked", "remedy"), MISTAKES)
def test_mistakes_are_marked_and_come_with_a_remedy(text: str, marked: str, remedy: str) -> None:
    with pytest.raises(IssueError) as refused:
        parse_expression(text)
    (issue,) = refused.value.issues
    assert issue.code is IssueCode.CEL_SYNTAX
    assert issue.span is not None
    assert text[issue.span.start : issue.span.end] == marked
    assert remedy in issue.remedy
    assert issue.message
    assert "^" in render_issue(issue)


# fmt: off
PIECES = st.sampled_from((
    "event.a", "x", "1", "2.5", "'t'", "b'x'", "r'", "'''", "(", ")", "[", "]", "{", "}", ".", "?", ":", ",", "&&",
    "==", "<", "in", "+", "-", "!", " ", "\n", "//", "has(", ".map(x, ", "cel.bind(", "0x", "1u", "\\", "`", "é", "=",
    "$",
))
# fmt: on


@given(st.one_of(st.lists(PIECES, max_size=12).map("".join), st.text(max_size=20)))
def test_any_text_is_a_tree_or_an_issue_that_can_be_shown(text: str) -> None:
    try:
        expression = parse_expression(text)
    except IssueError as refused:
        (issue,) = refused.issues
        assert issue.span is not None
        assert 0 <= issue.span.start <= issue.span.end <= len(text)
        assert render_issue(issue)
    else:
        assert all(0 <= node.span.start < node.span.end <= len(text) for node in nodes_of(expression))
        for found in check_expression(expression, Environment.for_rule("any")):
            assert found.span is not None
            assert text[found.span.start : found.span.end]
