"""Drawings of `report html`: a chart as SVG that a page can hold.

In: columns over time or bars beside names, with exact amounts. Out: SVG text without script, metadata or ids of another
chart, whose colours are the page's own (so they follow light, dark and print) and whose words stay text. The same chart
gives the same bytes: nothing of the reader's matplotlib settings, the clock or chance goes in.

Bars are drawn from floats, since that is what a drawing is made of; no figure is ever read back from one. This is the
only module that knows matplotlib.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, assert_never

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from earnbook.pipeline.reports_page_model import BarChart, Chart, ColumnChart, Series

_WIDTH = 400
"""Units of a drawing, which the page shows about one pixel each: a third of a screen, or the width of a phone."""

_FONT_SIZE = 11
_NAME_CHARACTERS_MAX = 24
"""Of a name beside a bar; the table beside the chart has the whole name."""

_PERIODS_CHARACTERS_MAX = 44
"""Of all labels below columns together."""

_INK, _GRID, _FIRST_SERIES = "#0e0b00", "#0e0b01", "#0e0b1"
"""Colours that stand for the page's: they are replaced by its CSS variables."""

_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": _FONT_SIZE,
    "text.color": _INK,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _INK,
    "xtick.color": _GRID,
    "ytick.color": _GRID,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "grid.color": _GRID,
    "axes.axisbelow": True,
    "figure.constrained_layout.use": True,
}


def draw(chart: Chart, *, name: str) -> str:
    """The chart as an `<svg>` element; `name` is unique on the page and begins every id in it."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS | {"svg.hashsalt": name})
        # Widths of letters that the font lacks are guessed; the reader's fonts draw them.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        match chart:
            case ColumnChart():
                figure = _draw_columns(chart)
            case BarChart():
                figure = _draw_bars(chart)
            case _:
                assert_never(chart)
        sink = io.StringIO()
        figure.savefig(
            sink,
            format="svg",
            transparent=True,
            metadata={"Creator": None, "Date": None, "Format": None, "Type": None},
        )
    return _for_page(sink.getvalue(), name)


def _draw_columns(chart: ColumnChart) -> Figure:
    figure = Figure(figsize=(_WIDTH / 72, 230 / 72))
    axes = figure.add_subplot()
    places = range(len(chart.labels))
    for series, values, starts in _stacked(chart.series):
        axes.bar(places, values, bottom=starts, width=0.72, color=_color(series))
    # A lone column would fill the chart.
    axes.set_xlim(-0.6, max(len(places), 6) - 0.4)
    shown = _spread(chart.labels)
    axes.set_xticks(shown, [chart.labels[place] for place in shown])
    # Below the lowest label of the other axis, which the first of these would touch.
    axes.tick_params(axis="x", pad=9)
    axes.axhline(0, color=_INK, linewidth=0.8)
    _finish(axes, amounts="y", whole=_is_whole(chart))
    return figure


def _draw_bars(chart: BarChart) -> Figure:
    figure = Figure(figsize=(_WIDTH / 72, (50 + 26 * len(chart.labels)) / 72))
    axes = figure.add_subplot()
    places = range(len(chart.labels))
    for series, values, starts in _stacked(chart.series):
        axes.barh(places, values, left=starts, height=0.66, color=_color(series))
    for place, limit in enumerate(chart.limits):
        if limit is not None:
            axes.plot([float(limit)] * 2, [place - 0.42, place + 0.42], color=_INK, linewidth=2)
    axes.set_yticks(places, [_short(label) for label in chart.labels])
    axes.set_ylim(len(places) - 0.4, -0.6)
    axes.axvline(0, color=_INK, linewidth=0.8)
    _finish(axes, amounts="x", whole=_is_whole(chart))
    return figure


def _stacked(series: Sequence[Series]) -> Iterator[tuple[Series, list[float], list[float]]]:
    """Every series with its values and where they begin: those above zero and those below on either side of it."""
    ends: dict[tuple[int, bool], float] = {}
    for one in series:
        values = [float(value) for value in one.values]
        sides = [(place, value < 0) for place, value in enumerate(values)]
        starts = [ends.get(side, 0.0) for side in sides]
        ends |= {side: start + value for side, start, value in zip(sides, starts, values, strict=True)}
        yield one, values, starts


def _finish(axes: Axes, *, amounts: str, whole: bool) -> None:
    """Few round ticks in short words on the axis of amounts, and no box."""
    axis = axes.xaxis if amounts == "x" else axes.yaxis
    axis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10], integer=whole))
    axis.set_major_formatter(FuncFormatter(lambda value, _: compact(Decimal(repr(float(value))))))
    axes.grid(axis="x" if amounts == "x" else "y", linewidth=0.8)
    axes.tick_params(length=0)
    for side in ("top", "right", "bottom", "left"):
        axes.spines[side].set_visible(False)


def _is_whole(chart: Chart) -> bool:
    """Whether ticks between whole numbers would mean nothing: amounts without decimals, and counts."""
    return all(value == value.to_integral_value() for series in chart.series for value in series.values)


def compact(value: Decimal) -> str:
    """A number in few characters: 950, 1.5k, 20M; what does not fit into four digits is rounded half-even."""
    for power, unit in ((12, "T"), (9, "B"), (6, "M"), (3, "k"), (0, "")):
        if abs(value) >= Decimal(10) ** power or power == 0:
            scaled = format(value.scaleb(-power), ".4g")
            plain = format(Decimal(scaled), "f")
            return (plain.rstrip("0").rstrip(".") if "." in plain else plain) + unit
    raise AssertionError("the last unit takes every value")


def _spread(labels: Sequence[str]) -> Sequence[int]:
    """Places evenly apart, the first among them, so few that their labels do not touch."""
    at_most = max(_PERIODS_CHARACTERS_MAX // max((len(label) for label in labels), default=1), 1)
    return range(0, len(labels), max(-(-len(labels) // at_most), 1))


def _short(label: str) -> str:
    return label if len(label) <= _NAME_CHARACTERS_MAX else label[: _NAME_CHARACTERS_MAX - 1] + "…"


def _color(series: Series) -> str:
    return f"{_FIRST_SERIES}{series.color}"


# --- from a file of its own to an element of a page -----------------------------------------------------------------


def _for_page(svg: str, name: str) -> str:
    """The `<svg>` element alone, sized by the page, with the page's colours and ids of its own."""
    element = svg[svg.index("<svg") :].strip()
    head, _, body = element.partition(">")
    view_box = re.search(r'viewBox="[^"]*"', head)
    assert view_box is not None, "matplotlib gives every drawing a viewBox"
    # Its one style is for every element of the document; the page has it for its drawings.
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, count=1, flags=re.DOTALL)
    # Only tags are changed: what stands between them are names, whatever they look like.
    body = re.sub(r"<[^>]+>", lambda tag: _tag_for_page(tag.group(), name), body)
    return f"<svg {view_box.group()}>{body}"


def _tag_for_page(tag: str, name: str) -> str:
    tag = re.sub(r'\bid="', f'id="{name}-', tag)
    # Inside HTML a link needs no prefix.
    tag = re.sub(r'\b(?:xlink:)?href="#', f'href="#{name}-', tag).replace("url(#", f"url(#{name}-")
    tag = tag.replace(_INK, "var(--ink)").replace(_GRID, "var(--grid)")
    return re.sub(rf"{_FIRST_SERIES}(\d)", r"var(--series-\1)", tag)
