"""The page of reports in a real browser: nothing goes wrong, nothing is asked for, and everybody can use it.

Needs Chromium with its driver (`apt-get install chromium chromium-driver`) and `pip install selenium`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.command_line import run_command
from tests.support.page_book import make_page_book

selenium = pytest.importorskip("selenium")

from tests.support.browser import Browser, chromium  # noqa: E402

pytestmark = pytest.mark.browser

SAMPLES = Path(__file__).parents[2] / "sample_data"
PAGES = ("coffee_shop", "cashback_card", "club")
WIDTHS = (1280, 390)
TAB, ENTER = "\ue004", "\ue007"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages of both samples and of a club with tiers, budgets and failures, as the command writes them."""
    folder = tmp_path_factory.mktemp("pages")
    books = {name: folder / f"{name}.duckdb" for name in PAGES[:2]} | {"club": make_page_book(folder)}
    for name in PAGES[:2]:
        files = sorted((SAMPLES / name).glob("*.ndjson"))
        made = run_command(
            *("run", "--config", SAMPLES / name / "config", "--book", books[name], "--clock", "event", *files)
        )
        assert made.exit_code == 0, made.stderr
    for name, book in books.items():
        assert run_command("report", "html", "--book", book, "-o", folder / f"{name}.html").exit_code == 0
    return {name: folder / f"{name}.html" for name in books}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if executable is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed")
    with chromium(executable, driver) as opened:
        yield opened


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_it_opens_without_a_word_in_the_console_or_a_request(
    browser: Browser, pages: dict[str, Path], name: str, width: int
) -> None:
    browser.requests()
    browser.open(pages[name], width=width)
    assert browser.console() == []
    assert [url for url in browser.requests() if not url.startswith("data:")] == [pages[name].as_uri()]


@pytest.mark.parametrize("name", PAGES)
def test_the_console_would_have_said_what_goes_wrong(
    browser: Browser, pages: dict[str, Path], name: str, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.html"
    text = pages[name].read_text(encoding="utf-8")
    broken.write_text(text.replace("<main", '<img src="https://example.org/x.png" alt=""><main'), encoding="utf-8")
    browser.open(broken, width=1280)
    assert any("Content Security Policy" in message for message in browser.console())


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_it_is_as_wide_as_the_screen(browser: Browser, pages: dict[str, Path], name: str, width: int) -> None:
    browser.open(pages[name], width=width)
    browser.run("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert browser.run("return document.documentElement.scrollWidth") <= width
    wider = """
        return [...document.querySelectorAll('main *, header *')]
            .filter(one => !one.closest('.scroll') && one.getBoundingClientRect().right > innerWidth + 1)
            .map(one => one.outerHTML.slice(0, 100))"""
    assert browser.run(wider) == []


@pytest.mark.parametrize("name", PAGES)
def test_the_keyboard_reaches_everything_and_opens_the_tables(
    browser: Browser, pages: dict[str, Path], name: str
) -> None:
    browser.open(pages[name], width=1280)
    focused = "return [document.activeElement.tagName, document.activeElement.textContent.trim()]"
    browser.press(TAB)
    assert browser.run(focused) == ["A", "Skip to the figures"]
    assert browser.run("return document.activeElement.getBoundingClientRect().top") >= 0
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert browser.run(outline) == "solid"
    browser.press(ENTER)
    assert browser.run("return document.activeElement.id") == "main"
    stops = browser.run("return document.querySelectorAll('main summary, main [tabindex=\"0\"]').length")
    opened = 0
    for _ in range(3 * stops):
        browser.press(TAB)
        tag = browser.run("return document.activeElement.tagName")
        if tag == "BODY":
            break
        if tag == "SUMMARY":
            browser.press(ENTER)
            assert browser.run("return document.activeElement.parentElement.open")
            opened += 1
        assert browser.run(outline) == "solid"
    assert opened == browser.run("return document.querySelectorAll('main summary').length") > 0


@pytest.mark.parametrize("name", PAGES)
def test_it_has_landmarks_headings_in_order_and_names_for_what_is_drawn(
    browser: Browser, pages: dict[str, Path], name: str
) -> None:
    browser.open(pages[name], width=1280)
    count = "return ['header', 'nav', 'main', 'footer', 'h1'].map(tag => document.querySelectorAll(tag).length)"
    assert browser.run(count) == [1, 1, 1, 1, 1]
    levels = browser.run("return [...document.querySelectorAll('h1, h2, h3')].map(one => Number(one.tagName[1]))")
    assert all(after <= before + 1 for before, after in pairwise(levels))
    drawn = browser.run(
        "return [...document.querySelectorAll('svg')].map(one => one.parentElement.getAttribute('aria-label'))"
    )
    assert drawn
    assert all(drawn)
    assert browser.run("return document.querySelectorAll('figure:not(:has(table))').length") == 0


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_words_stand_out_from_the_page(browser: Browser, pages: dict[str, Path], name: str, dark: bool) -> None:
    browser.open(pages[name], width=1280, dark=dark)
    paper = _luminance(browser.run("return getComputedStyle(document.body).backgroundColor"))
    assert (paper < 0.1) == dark
    colors = """
        return [...new Set([...document.querySelectorAll('h1, p, td, th, dt, a, summary, svg text')].map(one => {
            const style = getComputedStyle(one)
            return one.namespaceURI.endsWith('svg') ? style.fill : style.color
        }))]"""
    for color in browser.run(colors):
        ink = _luminance(color)
        assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) >= 4.5, color


@pytest.mark.parametrize("name", PAGES)
def test_no_word_of_a_chart_is_cut_off(browser: Browser, pages: dict[str, Path], name: str) -> None:
    browser.open(pages[name], width=390)
    cut = """
        return [...document.querySelectorAll('svg text')].filter(text => {
            const word = text.getBoundingClientRect(), chart = text.closest('svg').getBoundingClientRect()
            return word.left < chart.left - 1 || word.right > chart.right + 1 || word.bottom > chart.bottom + 1
        }).map(text => text.textContent)"""
    assert browser.run(cut) == []


@pytest.mark.parametrize("name", PAGES)
def test_it_prints_with_the_tables_beside_the_charts(browser: Browser, pages: dict[str, Path], name: str) -> None:
    browser.open(pages[name], width=1280)
    pdf = browser.print_pdf()
    assert pdf.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 2
    browser.print_media()
    shown = (
        "return [...document.querySelectorAll('details table')].every(one => one.getBoundingClientRect().height > 0)"
    )
    assert browser.run(shown)
    assert browser.run("return getComputedStyle(document.querySelector('nav')).display") == "none"


def _luminance(color: str) -> float:
    """The relative luminance of `rgb(r, g, b)`, as WCAG has it."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
