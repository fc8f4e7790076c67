"""`mlx-cards doctor`: whether models can run on this machine, and what to do where they cannot."""

from __future__ import annotations

import sys

import click

from loader.cli import common

FOUND = 1
COLOURS = {"pass": "green", "warn": "yellow", "fail": "red"}


@click.command()
@common.as_json
def doctor(as_json: bool) -> None:
    """Look at packages, GPU, memory and disk; each problem comes with the command that mends it.

    The exit code is 1 where something failed; warnings do not count.

    \b
    mlx-cards doctor
    mlx-cards doctor --json
    """
    from loader.doctor import doctor as findings_of

    findings = list(findings_of())
    failed = any(finding.status == "fail" for finding in findings)
    if as_json:
        data = [finding.to_dict() for finding in findings]
        common.print_json({"ok": not failed, "findings": data})
    for finding in () if as_json else findings:
        status = click.style(finding.status, fg=COLOURS[finding.status])
        click.echo(f"{status}  {finding.subject}: {common.printable(finding.said)}")
        if finding.mend is not None:
            click.echo(f"      {finding.mend}")
    if failed:
        sys.exit(FOUND)
