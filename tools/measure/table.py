"""The table of docs/memory.md: what was measured, and beside it what is estimated."""

from __future__ import annotations

from collections.abc import Sequence

from tools.measure.cases import ROOT, cases
from tools.measure.compare import BELOW, NEAR, SHARE, Comparison, compare, meets_the_aim
from tools.measure.record import MEASUREMENTS, read_all

PAGE = ROOT / "docs" / "memory.md"
BEGIN, END = "<!-- measurements: make generated -->", "<!-- end of measurements -->"
MEGA = 1e6
HEADS = ["model, attention", "images", "positions", "products"]
HEADS += ["weights MB", "measured MB", "estimated MB", "difference"]


def table(compared: Sequence[Comparison]) -> str:
    """All runs in Markdown, in the order of the cases, and what they amount to."""
    order = {name: place for place, name in enumerate(cases())}
    rows = sorted(compared, key=lambda one: (order.get(one.run.model, len(order)), one.measured))
    lines = [
        f"| {' | '.join(HEADS)} |",
        "| --- | --- | ---: | --- | ---: | ---: | ---: | ---: |",
        *(_row(one) for one in rows),
    ]
    return "\n".join([*lines, "", _summary(compared), ""])


def _row(one: Comparison) -> str:
    run = one.run
    case = cases().get(run.model)
    kind = f": {case.kind}" if case is not None else ""
    images = ", ".join(f"{width}x{height}" for width, height in run.images)
    cells = [
        f"{run.model}{kind}",
        images,
        f"{run.prompt_tokens:,}",
        run.products,
        f"{run.weights / MEGA:,.0f}",
        f"{one.measured / MEGA:,.0f}",
        f"{one.estimated / MEGA:,.0f}",
        f"{one.difference:+.1%}",
    ]
    return f"| {' | '.join(cells)} |"


def _summary(compared: Sequence[Comparison]) -> str:
    near = sum(abs(one.difference) <= NEAR for one in compared)
    lowest, highest = (pick(one.difference for one in compared) for pick in (min, max))
    verdict = "reached" if meets_the_aim(compared) else "not reached"
    return (
        f"{near} of {len(compared)} runs are within {NEAR:.0%}; the estimates are from {lowest:+.1%} to "
        f"{highest:+.1%}. The aim, {SHARE:.0%} within {NEAR:.0%} and none lower by more than {BELOW:.0%}, "
        f"is {verdict}."
    )


def with_table(page: str, compared: Sequence[Comparison]) -> str:
    """The text of the page with the table of today.

    Raises ValueError where the page has no place for it.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"The page has no place for the table: {BEGIN} and {END} are missing. Put them in.")
    return f"{before}{BEGIN}\n{table(compared)}{END}{after}"


def page() -> str:
    """The text of docs/memory.md, with the table of what is stored."""
    runs, _ = read_all(MEASUREMENTS)
    return with_table(PAGE.read_text(encoding="utf-8"), [compare(run) for run in runs])
