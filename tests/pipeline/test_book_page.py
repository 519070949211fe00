"""`docs/book.md` is what the book is. EARNBOOK_UPDATE_GOLDEN=1 writes it anew."""

from __future__ import annotations

import os
from pathlib import Path

from earnbook.pipeline.store import BookMode, open_book
from earnbook.pipeline.store_docs import VIEWS, book_markdown, public_views

PAGE = Path(__file__).parents[2] / "docs" / "book.md"


def test_the_page_is_current() -> None:
    text = book_markdown()
    if os.environ.get("EARNBOOK_UPDATE_GOLDEN"):
        PAGE.write_text(text, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == text


def test_every_public_view_is_on_the_page(tmp_path: Path) -> None:
    with open_book(tmp_path / "shop.duckdb", mode=BookMode.WRITE) as book, book.session() as connection:
        assert public_views(connection) == sorted(VIEWS)


def test_amounts_are_shown_with_the_scale_of_the_book() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert "| `amount` | DECIMAL(38, scale) |" in page
    assert "DECIMAL(38,7)" not in page
