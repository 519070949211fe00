"""Writes the table of docs/operations.md: `python -m tests.support.operations_page`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from earnbook.pipeline.operation_fields import SPECIFICATIONS, FieldKind, FieldSpec, OperationSpec, ProgramNeed

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
BEGIN, END = "<!-- types: begin -->\n", "<!-- types: end -->"

_PROGRAM = {
    ProgramNeed.NONE: "",
    ProgramNeed.OPTIONAL: "`program_id`",
    ProgramNeed.REQUIRED: "`program_id`*",
    ProgramNeed.TARGET: "`program_id`, `target` (`PROGRAM`)",
    ProgramNeed.KEYED: "`program_id` (* with `redemption_key`)",
}


def operations_markdown(page: str) -> str:
    """The page with its table as it should be."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + "\n" + "\n".join(_table()) + "\n\n" + END + rest.partition(END)[2]


def _table() -> Iterator[str]:
    yield "| type | fields |"
    yield "|---|---|"
    for kind, spec in SPECIFICATIONS.items():
        yield f"| `{kind}` | {', '.join(_fields(spec))} |"


def _fields(spec: OperationSpec) -> Iterator[str]:
    if _PROGRAM[spec.program]:
        yield _PROGRAM[spec.program]
    if spec.entity.value:
        yield " \\| ".join(f"`{name}`" for name in spec.entity.value) + ("" if "TARGET" in spec.program.name else "*")
    if spec.one_of:
        yield " \\| ".join(f"`{name}`" for name in spec.one_of) + "*"
    for name, field in spec.fields.items():
        if name not in spec.one_of:
            yield f"`{name}`{'*' if field.required else ''}{_remark(field)}"


def _remark(field: FieldSpec) -> str:
    if field.choices:
        return f" ({', '.join(field.choices)})"
    return " (or ALL)" if field.kind is FieldKind.AMOUNT else ""


if __name__ == "__main__":
    PAGE.write_text(operations_markdown(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
