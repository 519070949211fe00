"""A page of reports as HTML: one file that needs nothing else, neither script nor network.

In: a `Page`. Out: its text. Everything is escaped but the drawings of `reports_page_charts` and the page's own style.
This is the only module that knows Jinja2.
"""

from __future__ import annotations

from importlib import resources

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from earnbook.pipeline.reports_page_charts import draw
from earnbook.pipeline.reports_page_model import Chart, Page, legend

_TEMPLATE = "reports_page.jinja"
_STYLE = "reports_page.css"


def render_page(page: Page) -> str:
    """The page as HTML; the same page gives the same text."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_resource(_TEMPLATE))
    text: str = template.render(page=page, style=Markup(_resource(_STYLE)), drawing=_drawing, legend=legend)
    return text


def _drawing(chart: Chart, name: str) -> Markup:
    return Markup(draw(chart, name=name))


def _resource(name: str) -> str:
    return resources.files("earnbook.pipeline").joinpath(name).read_text(encoding="utf-8")
