"""`mlx-cards doctor`: each problem is found, and comes with the command that mends it."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from loader.device import GIB, Device, find
from loader.doctor import (
    BACKEND,
    Finding,
    conflicts,
    defects,
    disk,
    doctor,
    installed,
    machine,
    requirements,
    versions,
)
from registry.defects import known
from tests.command import Result, mlx_cards

Run = Callable[..., Result]
CHECKED = known().checked


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return functools.partial(mlx_cards, capsys=capsys, monkeypatch=monkeypatch)


def of(subject: str, **there: str) -> Finding:
    """What is found about one package where others are as checked."""
    all_there = {**CHECKED, **{name.replace("_", "-"): version for name, version in there.items()}}
    return next(finding for finding in versions(all_there, requirements()) if finding.subject == subject)


def test_what_the_suite_is_green_with_is_what_is_installed_here_or_older() -> None:
    """A newer version in this environment means: run everything with it, then write it down."""
    there = installed()
    assert {name: there[name] for name in CHECKED} == CHECKED
    assert {finding.status for finding in versions(there, requirements())} == {"pass"}


def test_every_card_the_package_and_the_backend_are_asked_what_they_need() -> None:
    asked = requirements()
    assert asked[BACKEND]["the card qwen2.5-vl"] == ">=0.7.10"
    assert asked["transformers"][BACKEND] == ">=5.14.0"
    assert "mlx-cards" in asked["mlx"]


def test_an_older_backend_is_refused_with_the_command_that_mends_it() -> None:
    finding = of(BACKEND, mlx_vlm="0.7.9")
    assert finding.status == "fail"
    assert "0.7.9 is installed, and the card " in finding.said
    assert finding.mend == "pip install 'mlx-vlm>=0.7.10'"


def test_an_older_transformers_than_the_backend_wants_is_refused() -> None:
    finding = of("transformers", transformers="5.13.0")
    assert finding.status == "fail"
    assert finding.mend == "pip install 'transformers>=5.14.0'"


def test_a_newer_version_than_the_checked_one_is_a_warning() -> None:
    finding = of("mlx", mlx="99.1")
    assert finding.status == "warn"
    assert finding.mend == f"pip install 'mlx=={CHECKED['mlx']}'"


def test_a_missing_package_fails_only_where_something_needs_it() -> None:
    found = {finding.subject: finding for finding in versions({}, requirements())}
    assert found[BACKEND].status == "fail"
    assert found[BACKEND].mend == "pip install 'mlx-cards[mlx]'"
    assert found["mlx-lm"].status == "pass"


def test_versions_that_do_not_go_together_are_named_with_their_source() -> None:
    (finding,) = conflicts({**CHECKED, "transformers": "5.13.0", "mlx-lm": "0.31.3"})
    assert finding.status == "fail"
    assert "transformers 5.13.0 with mlx-lm 0.31.3" in finding.said
    assert "https://github.com/" in finding.said
    assert finding.mend == "pip install 'transformers!=5.13.0'"
    assert not list(conflicts({**CHECKED, "transformers": "5.14.0", "mlx-lm": "0.31.3"}))
    assert not list(conflicts(CHECKED))


@pytest.mark.parametrize("conflict", known().conflicts, ids=lambda conflict: conflict.mend)
def test_what_mends_a_conflict_rules_out_one_of_its_versions(conflict: object) -> None:
    from registry.defects import Conflict

    assert isinstance(conflict, Conflict)
    mend = Requirement(conflict.mend)
    wrong = SpecifierSet(conflict.packages[mend.name])
    named = [Version(specifier.version) for specifier in wrong]
    assert any(version in wrong and version not in mend.specifier for version in named)


def test_faults_are_counted_for_the_version_that_has_them_only() -> None:
    assert f"{len(known().defects)} of mlx-vlm" in defects(CHECKED[BACKEND]).said
    assert "whether another version has them is not" in defects("99.1").said


def test_a_gpu_that_may_use_less_than_by_default_is_a_warning() -> None:
    usual = find("64gb")
    device = Device("this machine", 64 * GIB, usual.working_set // 2, measured=True)
    finding, *_ = machine(device, apple=True)
    assert (finding.status, finding.mend) == ("warn", "sudo sysctl iogpu.wired_limit_mb=0")
    finding, *rest = machine(Device("this machine", 64 * GIB, usual.working_set, measured=True), apple=True)
    assert finding.status == "pass"
    assert not rest


def test_a_mac_without_metal_fails_and_a_machine_without_a_gpu_does_not() -> None:
    mac, *_ = machine(Device("this machine", 64 * GIB, 48 * GIB), apple=True)
    assert mac.status == "fail"
    assert mac.mend
    other, *_ = machine(Device("this machine", 64 * GIB, 64 * GIB, engine="cpu", measured=True), apple=False)
    assert other.status == "pass"


def test_memory_that_others_hold_is_a_warning_where_little_is_left() -> None:
    def held(gibibytes: int) -> Finding:
        device = Device("m", 64 * GIB, 48 * GIB, measured=True, in_use=gibibytes * GIB)
        return next(finding for finding in machine(device, apple=True) if finding.subject == "memory")

    assert held(20).status == "pass"
    assert held(50).status == "warn"
    assert held(50).mend == "top -o mem"
    assert "15.0 GB for models" in held(50).said


def test_free_disk_is_held_against_the_checkpoints() -> None:
    assert disk(Path("cache"), 10**13).status == "pass"
    assert disk(Path("cache"), 3 * 10**9).status == "warn"
    full = disk(Path("cache"), 1000)
    assert full.status == "fail"
    assert "room for any one of 0 of" in full.said
    assert full.mend
    assert full.mend.startswith("hf cache ls")


def test_every_problem_has_a_command_and_nothing_else_has() -> None:
    for finding in doctor():
        assert (finding.mend is None) == (finding.status == "pass")


def test_the_command_says_the_same_to_people_and_to_programs(run: Run) -> None:
    shown, data = run("doctor"), json.loads(run("doctor", "--json").out)
    assert shown.code == 0
    assert data["ok"]
    for finding in data["findings"]:
        assert f"{finding['status']}  {finding['subject']}: " in shown.out


def test_the_command_ends_with_1_and_the_mending_command_where_something_fails(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "0.7.2" if name == BACKEND else version(name))
    result = run("doctor")
    assert result.code == 1
    assert "fail  mlx-vlm: 0.7.2 is installed" in result.out
    assert "pip install 'mlx-vlm>=0.7.10'" in result.out
