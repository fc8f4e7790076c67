"""`mlx-cards validate`: every finding about cards, and where it is."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from registry.validate.runner import Choice, Report

FINDINGS, USAGE = 1, 2
_FORMATS = ("full", "concise", "github", "json", "sarif")


def _codes(_context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> frozenset[str]:
    """Codes, or beginnings of codes, separated by commas; one that there is not is wrong usage."""
    from registry.validate.findings import rules

    codes = [code.strip().upper() for value in values for code in value.split(",")]
    for code in codes:
        if not code or not any(known.startswith(code) for known in rules()):
            raise click.BadParameter(f"{code!r} is no code; docs/findings.md lists them.", param=parameter)
    return frozenset(codes)


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(_FORMATS),
    help="How findings are written.  [default: full; github in GitHub Actions]",
)
@click.option(
    "--only", multiple=True, callback=_codes, metavar="CODE", help="Only these; MC3 means all MC3xx."
)
@click.option("--ignore", multiple=True, callback=_codes, metavar="CODE", help="All but these.")
@click.option(
    "--goldens",
    metavar="FOLDER",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the cards' goldens are.  [default: golden/ beside the cards, or tests/golden]",
)
@click.option("--fix", "mend", is_flag=True, help="Mend what changes no fact; comments stay.")
@click.option("--online", is_flag=True, help="Ask the hub, too.")
@click.option("--runtime", is_flag=True, help="Run the backend on random weights, too.")
def validate(
    paths: tuple[Path, ...],
    form: str | None,
    only: frozenset[str],
    ignore: frozenset[str],
    goldens: Path | None,
    mend: bool,
    online: bool,
    runtime: bool,
) -> None:
    """Check cards: files, or folders of them; without PATH, those of this package.

    All findings of all files are written, each with a code that docs/findings.md explains. The exit code
    is 0 without an error (warnings do not count), 1 with one, 2 where there was nothing to check.

    \b
    mlx-cards validate
    mlx-cards validate my-cards/acme.yaml --fix
    mlx-cards validate my-cards --ignore MC401 --format json
    """
    from registry.catalog import CARDS
    from registry.validate.formats import FORMATS
    from registry.validate.runner import Choice, files_of
    from registry.validate.runner import validate as run

    files = list(dict.fromkeys(files_of(paths or (CARDS,))))
    if not files:
        raise click.UsageError(
            f"There is no card in {', '.join(map(str, paths))}. Name a file or a folder of them."
        )
    choice = Choice(only=only, ignore=ignore, goldens=goldens, online=online, runtime=runtime)
    mended = _fix(files, choice) if mend else 0
    report = run(files, choice, shown=_shown)
    form = form or ("github" if os.environ.get("GITHUB_ACTIONS") == "true" else "full")
    if text := FORMATS[form](report):
        click.echo(text)
    _summary(report, mended)
    if report.errors:
        sys.exit(FINDINGS)


def _fix(files: list[Path], choice: Choice) -> int:
    from registry.validate.fix import fix

    return fix(files, choice)


def _shown(path: Path) -> str:
    """A path as it is shortest from here."""
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return str(path)


def _summary(report: Report, mended: int) -> None:
    """Counts on standard error: standard output is for the findings alone."""
    from registry.validate.formats.words import count, printable

    warnings = len(report.findings) - report.errors
    for line in report.skipped:
        click.echo(printable(f"skipped: {line}"), err=True)
    said = [count(report.files, "card"), count(report.errors, "error"), count(warnings, "warning")]
    if mended:
        said.append(f"{count(mended, 'finding')} mended")
    elif fixable := sum(finding.edit is not None for finding in report.findings):
        said.append(f"--fix mends {fixable:,}")
    click.echo(", ".join(said), err=True)
