"""Writes the generated parts of docs/rules.md: `python -m tests.support.rules_page`.

The page is written by hand but for the parts between `<!-- name: begin -->` and `<!-- name: end -->`, which come from
the tables of the language. What stands in `EXAMPLES` is evaluated by the page's test.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

from earnbook.rules.canonical import plain_number
from earnbook.rules.conformance import DEVIATIONS
from earnbook.rules.functions import FUNCTIONS, Function, KernelSupport
from earnbook.rules.parse_words import MACROS
from earnbook.rules.types import Signature
from earnbook.rules.values import EvaluationError, Value, spoken_type

PAGE = Path(__file__).parents[2] / "docs" / "rules.md"

_KERNEL = {KernelSupport.INLINE: "yes", KernelSupport.LOOKUP: "of texts", KernelSupport.NONE: ""}
_SIGNATURES_SHOWN_MAX = 4

EXAMPLES = re.compile(r"^\| `(?P<expression>.+?)` \| (?P<value>.+?) \|", re.MULTILINE)
"""Rows of the tables of examples: an expression and what it gives."""


def rules_markdown(page: str) -> str:
    """The page with its generated parts as they should be."""
    for name, make in _PARTS.items():
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise ValueError(f"docs/rules.md has no part {name}")
        page = before + begin + "\n" + "\n".join(make()) + "\n\n" + end + after
    return page


def examples(page: str) -> list[tuple[str, str]]:
    """Expressions and what the page says that they give, from its part `examples`."""
    part = page.partition("<!-- examples: begin -->")[2].partition("<!-- examples: end -->")[0]
    return [(row["expression"].replace("\\|", "|"), row["value"]) for row in EXAMPLES.finditer(part)]


def shown(value: Value | EvaluationError) -> str:
    """A value as the tables of examples show it."""
    if isinstance(value, EvaluationError):
        return "error"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, Decimal):
        return plain_number(value) if value.is_finite() else str(value).lower()
    return f"{spoken_type(value)} {value}"


def _functions() -> Iterator[str]:
    yield "| function | what it gives | kernel |"
    yield "|---|---|---|"
    for entry in FUNCTIONS:
        if entry.name[0].isalpha():
            yield f"| {_calls(entry)} | {entry.description} | {_KERNEL[entry.kernel]} |"


def _operators() -> Iterator[str]:
    yield "| operator | what it gives | kernel |"
    yield "|---|---|---|"
    for name, about in (("_&&_", "both; false decides"), ("_\\|\\|_", "either; true decides"), ("!_", "not")):
        yield f"| `{_operator(name)}` | {about} | yes |"
    yield "| `c ? a : b` | one of two, by a condition | yes |"
    for entry in FUNCTIONS:
        if not entry.name[0].isalpha():
            yield f"| `{_operator(entry.name)}` | {entry.description} | {_KERNEL[entry.kernel]} |"


def _macros() -> Iterator[str]:
    yield "| macro | arguments |"
    yield "|---|---|"
    for name, forms in MACROS.items():
        usages = (", ".join(["x", "y"][:variables] + ["…"] * (count - variables)) for count, variables in forms)
        yield f"| `{name}` | {' or '.join(f'`({usage})`' for usage in usages)} |"


def _deviations() -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for case, reason in DEVIATIONS.items():
        reasons.setdefault(reason, []).append(case)
    for reason, cases in reasons.items():
        yield f"- {reason[0].upper()}{reason[1:]}. Cases of the public suite that show it:"
        yield from (f"  - `{case}`" for case in cases)


def _operator(name: str) -> str:
    symbol = name.strip("_@")
    return f"{symbol}a" if not name.startswith(("_", "@")) else f"a {symbol} b"


def _calls(entry: Function) -> str:
    """How to call a function: its signatures, the first few where there are many."""
    texts = [f"`{_call(signature)}`" for signature in entry.signatures[:_SIGNATURES_SHOWN_MAX]]
    return "<br>".join([*texts, *(["…"] if len(entry.signatures) > _SIGNATURES_SHOWN_MAX else [])])


def _call(signature: Signature) -> str:
    target = "" if signature.target is None else f"{signature.target}."
    return f"{target}{signature.function}({', '.join(map(str, signature.parameters))}) → {signature.result}"


_PARTS: dict[str, Callable[[], Iterator[str]]] = {
    "operators": _operators,
    "functions": _functions,
    "macros": _macros,
    "deviations": _deviations,
}

if __name__ == "__main__":
    PAGE.write_text(rules_markdown(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
