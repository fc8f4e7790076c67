"""docs/findings.md: the explanation of every finding."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from registry.validate.findings import Rule, rules

EXAMPLES = Path(__file__).parents[2] / "tests" / "data" / "bad_cards"
HEAD = """\
<!-- Made by `make generated` from registry/validate/codes.yaml and tests/data. -->
# Findings
`mlx-cards validate [PATH]...`, in a clone also `tools/validate`, checks cards and writes everything that it
finds in one run, each with a code that never changes its meaning. Without a path it checks the cards of the
package.

- `--format full` is for people; `concise` has one line each, `json` and `sarif` are for programs; `github`
  annotates a pull request, and is taken by itself in GitHub Actions.
- `--only CODE` and `--ignore CODE` choose; `MC3` means all codes that begin so. Both may be repeated.
- `--fix` mends what changes no fact. Comments and layout stay, and a second run changes nothing more.
- `--online` asks the hub, too. `--runtime` runs the backend on random weights, too, in a clone, where it
  has a recipe for them.
- `--goldens FOLDER` says where goldens are. Else they are in `golden/` beside the cards or in `tests/golden`.

Exit codes: 0 no error (warnings do not count), 1 errors, 2 wrong usage or no card to check, 3 a bug.
"""
TIERS = {
    "syntax": "YAML",
    "schema": "The schema",
    "meaning": "What the card says",
    "goldens": "Goldens",
    "hub": "The hub, with `--online`",
    "backend": "The backend, with `--runtime`",
}


def page() -> str:
    """The text of docs/findings.md."""
    return HEAD + "".join(_parts())


def _parts() -> Iterator[str]:
    tier = None
    for rule in rules().values():
        if rule.tier != tier:
            tier = rule.tier
            yield f"\n## {TIERS[tier]}\n"
        yield _part(rule)


def _part(rule: Rule) -> str:
    example = (EXAMPLES / f"{rule.code}.txt").read_text(encoding="utf-8")
    lines = [f"\n### {rule.code}", f"**{rule.title}.** {rule.why}"]
    if rule.severity == "warning":
        lines.append("A warning.")
    if rule.fixed:
        lines.append(f"`--fix`: {rule.fixed}")
    return "\n".join([*lines, "", "```text", example.rstrip(), "```", ""])
