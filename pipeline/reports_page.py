"""`report html`: the whole picture of a book on one page.

In: a book. Out: the text of the page. What stands on it is what the reports say: they are read here, at one state of
the book, and turned into sections of cards, charts and tables; nothing is computed but sums of their rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from earnbook.pipeline.errors import MissingExtra
from earnbook.pipeline.reports import Report, ReportRequest
from earnbook.pipeline.reports_calendar import Every
from earnbook.pipeline.reports_ledger import earn_burn, ledger_summary
from earnbook.pipeline.reports_liability import liability
from earnbook.pipeline.reports_lots import expiration_schedule
from earnbook.pipeline.reports_page_model import Page, cell
from earnbook.pipeline.reports_page_records import failures_section, runs_section
from earnbook.pipeline.reports_page_rules import rules_section, tiers_section
from earnbook.pipeline.reports_page_value import liability_section, periods_section, summary_section
from earnbook.pipeline.reports_query import reading
from earnbook.pipeline.reports_records import BookFacts, book_facts, failures, rejects, run_history
from earnbook.pipeline.reports_rules import rule_cost
from earnbook.pipeline.reports_tiers import tier_distribution, tier_movements

_YOUNG = timedelta(days=62)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageReports:
    """The reports that a page is made of, all of one state of the book."""

    facts: BookFacts
    summary: Report
    earn_burn: Report
    liability: Report
    expiration: Report
    rule_cost: Report
    tiers: Report
    tier_movements: Report
    failures: Report
    rejects: Report
    runs: Report


def report_page(book: Path) -> str:
    """The page of a book as HTML; the same book gives the same text.

    Raises:
        MissingExtra: the libraries of `earnbook[html]` are not installed.
        EarnbookError: the book cannot be read, or one of its reports does not tie.
    """
    return draw_page(page_of(read_page_reports(book)))


def draw_page(page: Page) -> str:
    """A page as HTML; raises MissingExtra where the libraries of `earnbook[html]` are not installed."""
    try:
        from earnbook.pipeline.reports_page_html import render_page
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("earnbook"):
            raise
        raise MissingExtra(
            f"a page is drawn with {error.name}, which is not installed", "Run: pip install 'earnbook[html]'"
        ) from error
    return render_page(page)


def read_page_reports(book: Path) -> PageReports:
    """All reports of a page."""
    # While this session is open no other process can commit between two reports.
    request = ReportRequest(book=book)
    with reading(book):
        facts = book_facts(book)
        return PageReports(
            facts=facts,
            summary=ledger_summary(request),
            earn_burn=earn_burn(request, every=_period(facts)),
            liability=liability(request, by_bucket=True),
            expiration=expiration_schedule(request),
            rule_cost=rule_cost(request),
            tiers=tier_distribution(request),
            tier_movements=tier_movements(request),
            failures=failures(book),
            rejects=rejects(book),
            runs=run_history(book),
        )


def page_of(reports: PageReports) -> Page:
    """The page that shows these reports."""
    sections = (
        summary_section(reports.summary),
        periods_section(reports.earn_burn),
        liability_section(reports.liability, reports.expiration),
        rules_section(reports.rule_cost),
        tiers_section(reports.tiers, reports.tier_movements),
        failures_section(reports.failures, reports.rejects),
        runs_section(reports.runs),
    )
    return Page(
        title=reports.facts.organization,
        subtitle=f"As the book stands at {cell(reports.facts.book_clock)} UTC. Later commits may add to it.",
        facts=_facts(reports.facts),
        sections=sections,
    )


def _period(facts: BookFacts) -> Every:
    """Months, but days in a book that is too young for them."""
    is_young = facts.first_record is None or facts.book_clock - facts.first_record < _YOUNG
    return Every.DAY if is_young else Every.MONTH


def _facts(facts: BookFacts) -> tuple[tuple[str, str], ...]:
    """What identifies the book, in the order of reading."""
    return (
        ("Programs", ", ".join(facts.programs)),
        ("Assets", ", ".join(facts.assets)),
        ("Participants", cell(facts.participants)),
        ("Entries", cell(facts.entries)),
        ("Batches", cell(facts.batches)),
        ("Ruleset", cell(facts.ruleset_version)),
        ("Newest seal", facts.last_seal),
    )
