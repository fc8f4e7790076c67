"""Machines by name, and this one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.device import WORKING_SET_SHARE, Device, find, here
from loader.errors import UnsupportedFeatureError

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
        "64gb",
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


@pytest.mark.parametrize("name", [None, "m1-8gb", "m4-max-128gb", "m3-ultra-512gb"])
def test_the_gpu_may_use_a_part_of_the_memory(name: str | None) -> None:
    device = find(name)

    assert device.working_set == int(device.memory * WORKING_SET_SHARE)
    assert 0 < device.working_set < device.memory
