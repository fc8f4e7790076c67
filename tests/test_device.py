"""Machines by name, and this one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import loader.backend
import loader.device
from loader.device import TABLE, Device, devices, find, here, in_use_of
from loader.errors import UnsupportedFeatureError
from registry.reader import read

GIB = 1024**3


@pytest.mark.parametrize(
    ("name", "normal", "gib"),
    [
        ("m1-8gb", "m1-8gb", 8),
        ("m4-pro-24gb", "m4-pro-24gb", 24),
        ("M4-Max-64GB", "m4-max-64gb", 64),
        ("  m2-ultra-192gb\n", "m2-ultra-192gb", 192),
        ("m3-ultra-512gb", "m3-ultra-512gb", 512),
    ],
)
def test_a_name_is_chip_and_memory_in_any_case(name: str, normal: str, gib: int) -> None:
    device = find(name)

    assert (device.name, device.memory) == (normal, gib * GIB)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "m4",
        "m4-64",
        "m4-gb",
        "m4-0gb",
        "m4-064gb",
        "m4--64gb",
        "m4-64gb-max",
        "m4-mini-64gb",
        "m4 max 64gb",
        "m4_max_64gb",
        "m0-8gb",
        "a17-8gb",
        "m4-max--64gb",
        "m4-64.5gb",
        "m4-64gib",
        "m4-99999gb",
        "this machine",
    ],
)
def test_any_other_name_is_refused_with_an_example(name: str) -> None:
    with pytest.raises(UnsupportedFeatureError) as caught:
        find(name)

    assert str(caught.value) == (
        f"{name!r} is not a device. Write chip and memory, for example m4-max-64gb or m1-8gb."
    )


@given(st.text())
def test_any_text_is_a_device_or_refused(name: str) -> None:
    try:
        device = find(name)
    except UnsupportedFeatureError:
        return
    assert device.memory > 0


def test_a_device_is_its_own_answer() -> None:
    device = Device("mine", 3, 2)

    assert find(device) is device


def test_none_means_this_machine() -> None:
    assert find(None) == here()


def test_this_machine_has_memory() -> None:
    assert here().name == "this machine"
    assert here().memory > GIB // 4


# The table.


def test_the_table_is_well_formed_with_sources_and_dates() -> None:
    table = read(TABLE)

    assert all(sizes == sorted(set(sizes)) for sizes in table["chips"].values())
    assert {fact for source in table["sources"] for fact in source["facts"]} == table.keys() - {"sources"}
    assert all(source["url"].startswith("https://") and source["checked"] for source in table["sources"])


@pytest.mark.parametrize("name", devices())
def test_every_machine_of_the_table_can_be_found(name: str) -> None:
    device = find(name)

    assert device.name == name
    assert not device.measured
    assert 0 < device.buffer_limit < device.working_set < device.limit < device.memory
    assert 0.74 * device.memory < device.working_set < 0.92 * device.memory


@pytest.mark.parametrize(
    ("name", "largest_buffer"),
    [
        ("m1-max-32gb", 20_100_448_256),
        ("m3-max-36gb", 21_743_271_936),
        ("m4-pro-48gb", 30_150_672_384),
        ("m4-max-128gb", 77_309_411_328),
        ("m3-ultra-512gb", 373_662_154_752),
    ],
)
def test_the_limit_of_a_buffer_is_the_reported_one(name: str, largest_buffer: int) -> None:
    assert find(name).buffer_limit == largest_buffer


@pytest.mark.parametrize("name", ["m1-8gb", "m4-pro-24gb", "m4-max-64gb", "m2-ultra-192gb"])
def test_where_nothing_was_reported_the_gpu_may_use_three_quarters(name: str) -> None:
    device = find(name)

    assert device.working_set == device.memory * 3 // 4
    assert device.buffer_limit == device.working_set * 3 // 4


def test_mlx_refuses_above_one_and_a_half_working_sets_or_nearly_all_memory() -> None:
    assert find("m4-max-64gb").limit == 64 * GIB * 95 // 100
    assert Device("small", 100, 50).limit == 75


def test_a_memory_alone_is_a_machine_too() -> None:
    assert find("48gb").memory == 48 * GIB
    assert find("48gb").working_set == find("m4-pro-48gb").working_set


def test_a_chip_that_is_not_sold_with_that_memory_is_refused_with_those_that_are() -> None:
    with pytest.raises(UnsupportedFeatureError) as caught:
        find("m3-max-32gb")

    assert str(caught.value) == (
        "'m3-max-32gb' is not in the table of Apple's machines, which has m3-max with 36, 48, 64, 96 or "
        "128 GB. Take one of those, or give the memory alone: 32gb."
    )


def test_a_chip_that_is_not_known_is_refused_with_those_that_are() -> None:
    with pytest.raises(UnsupportedFeatureError, match=r"the chips m1, m1-pro, .*m6\. Take one of those, or"):
        find("m9-max-64gb")


# This machine.


def test_a_processor_may_use_all_of_the_memory_that_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    device = here()

    assert (device.engine, device.measured) == ("cpu", True)
    assert device.working_set == device.limit == device.buffer_limit == device.memory
    assert 0 < device.in_use < device.memory
    assert device.room == device.memory - device.in_use


def test_on_a_mac_metal_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {
        "memory_size": 64 * GIB,
        "max_recommended_working_set_size": 50 * GIB,
        "max_buffer_length": 40 * GIB,
        "device_name": "Apple M4 Max",
    }
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr(loader.device, "_in_use", lambda _: 20 * GIB)
    monkeypatch.setattr(loader.backend, "metal", lambda: said)
    device = here()

    assert (device.memory, device.working_set, device.buffer_limit) == (64 * GIB, 50 * GIB, 40 * GIB)
    assert (device.engine, device.measured) == ("metal", True)
    assert device.room == 44 * GIB


def test_on_a_mac_without_metal_the_table_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr(loader.device, "_in_use", lambda _: 0)
    monkeypatch.setattr(loader.backend, "metal", lambda: None)
    device = here()

    assert device.working_set == int(device.memory * 0.75)
    assert not device.measured


def test_the_backend_names_what_metal_says_or_nothing() -> None:
    said = loader.backend.metal()

    assert (
        said is None
        or {"memory_size", "max_recommended_working_set_size", "max_buffer_length"} <= said.keys()
    )


VM_STAT = """Mach Virtual Memory Statistics: (page size of 16384 bytes)
Pages free:                               11210.
Pages active:                            500000.
Pages inactive:                          480000.
Pages wired down:                        100000.
"Translation faults":                 123456789.
Anonymous pages:                         300000.
Pages stored in compressor:              400000.
Pages occupied by compressor:             50000.
"""


def test_wired_anonymous_and_compressed_pages_are_in_use() -> None:
    assert in_use_of(VM_STAT) == 450_000 * 16384


@pytest.mark.parametrize("text", ["", "vm_stat: command not found", "Pages wired down: 7."])
def test_what_vm_stat_does_not_say_is_not_in_use(text: str) -> None:
    assert in_use_of(text) == 0


def test_other_programs_never_leave_less_than_nothing() -> None:
    assert Device("full", 100, 80, in_use=120).room == 0
