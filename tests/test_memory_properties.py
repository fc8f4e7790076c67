"""Whatever is asked, an estimate is monotonic, adds up, and never counts what it does not know as nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import registry
from loader.device import Device, devices, find
from loader.errors import ImageError
from loader.memory import Estimate, Request, compute, request_of
from loader.memory.verdict import largest_image, longest_prompt, most_images

GB = 10**9
ORDER = ["fits", "unknown", "pages", "refuses"]
NAMES = registry.names()
SERVER = Device("a server", 64 * GB, 64 * GB, engine="cpu")
ONE_SEQUENCE = [
    name for name in NAMES if (image := registry.card(name).image) and image.resize.kind == "smart_resize"
]
"""Models that take an image as it is: elsewhere a larger image may be cut into fewer tiles."""

sizes = st.tuples(st.integers(28, 6000), st.integers(28, 6000)).filter(
    lambda size: max(size) <= 100 * min(size)
)
machines = st.one_of(
    st.sampled_from(devices()).map(find),
    st.builds(
        lambda memory, share: Device("made up", memory, int(memory * share)),
        st.integers(GB, 600 * GB),
        st.floats(0.5, 0.95),
    ),
    st.just(SERVER),
)
requests = st.fixed_dictionaries(
    {
        "images": st.lists(sizes, max_size=5),
        "max_tokens": st.integers(1, 40_000),
        "text_tokens": st.integers(0, 100_000),
        "context": st.none() | st.integers(1, 300_000),
        "detail": st.sampled_from(["low", "auto", "full"]),
        "attention": st.sampled_from([None, "fused", "materialized"]),
        "kv_bits": st.sampled_from([None, 4, 8]),
        "prefill_chunk": st.sampled_from([None, 256, 2048]),
    }
)


def made(name: str, device: Device, asked: dict[str, Any]) -> tuple[Request, Estimate]:
    request = request_of(name, device=device, **asked)
    return request, compute(request, device)


def worse(one: Estimate, other: Estimate) -> bool:
    """Whether the second needs no less than the first, in every part and in its verdict."""
    for name, part in one.parts.items():
        more = other.parts[name].bytes
        if part.bytes is not None and more is not None and part.bytes > more:
            return False
    return one.at_least <= other.at_least and ORDER.index(one.verdict) <= ORDER.index(other.verdict)


@settings(max_examples=1500, deadline=None)
@given(name=st.sampled_from(NAMES), device=machines, asked=requests)
def test_the_total_is_its_parts_nothing_is_negative_and_unknown_is_never_zero(
    name: str, device: Device, asked: dict[str, Any]
) -> None:
    try:
        request, answer = made(name, device, asked)
    except ImageError:  # more images than the family's own processor takes
        return
    parts = {key: part.bytes for key, part in answer.parts.items()}

    assert all(size is None or size >= 0 for size in parts.values())
    if None in parts.values():
        assert answer.total is None
        assert answer.verdict != "fits"
    else:
        assert answer.total == answer.at_least
        known = {key: size or 0 for key, size in parts.items()}
        phases = max(known["vision"], known["kv_cache"] + known["prefill"])
        assert answer.total == known["weights"] + known["overhead"] + phases
    if request.images:
        assert parts["vision"] != 0
    assert parts["weights"] != 0
    assert parts["kv_cache"] != 0
    assert answer.tokens > 0


@settings(max_examples=700, deadline=None)
@given(name=st.sampled_from(NAMES), device=machines, asked=requests)
def test_what_fits_stays_within_the_limits_by_its_own_account(
    name: str, device: Device, asked: dict[str, Any]
) -> None:
    try:
        _, answer = made(name, device, asked)
    except ImageError:
        return

    if answer.verdict == "fits":
        assert answer.total is not None
        assert answer.largest_buffer is not None
        assert answer.total <= device.room <= device.memory
        assert answer.largest_buffer <= device.buffer_limit
    if answer.verdict == "pages":
        assert device.room < answer.at_least <= device.limit
    if answer.verdict == "refuses":
        assert (
            answer.at_least > device.limit
            or (answer.largest_buffer or 0) > device.buffer_limit
            or (answer.largest_buffer is None)
        )


@settings(max_examples=500, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    device=machines,
    asked=requests,
    more=st.integers(0, 50_000),
    field=st.sampled_from(["max_tokens", "text_tokens", "context"]),
)
def test_more_positions_never_take_less(
    name: str, device: Device, asked: dict[str, Any], more: int, field: str
) -> None:
    asked["images"] = asked["images"][:1]
    request, answer = made(name, device, asked)
    change: Any = {field: (getattr(request, field) or 0) + more}
    larger = replace(request, **change)

    assert worse(answer, compute(larger, device))


@settings(max_examples=500, deadline=None)
@given(name=st.sampled_from(ONE_SEQUENCE), device=machines, asked=requests, another=sizes)
def test_another_image_never_takes_less(
    name: str, device: Device, asked: dict[str, Any], another: tuple[int, int]
) -> None:
    request, answer = made(name, device, asked)

    assert worse(answer, compute(replace(request, images=(*request.images, another)), device))


@settings(max_examples=500, deadline=None)
@given(name=st.sampled_from(NAMES), device=machines, size=sizes, count=st.integers(1, 6))
def test_the_same_image_once_more_never_takes_less_where_all_are_treated_alike(
    name: str, device: Device, size: tuple[int, int], count: int
) -> None:
    request = request_of(name, [size], device=device)
    try:
        plans = {n: replace(request, images=(size,) * n).plans() for n in (count, count + 1)}
    except ImageError:
        return
    if plans[count][0].patches != plans[count + 1][0].patches:  # some cut fewer tiles of many images
        return
    one, other = (compute(replace(request, images=(size,) * n, planned=plans[n]), device) for n in plans)

    assert worse(one, other)


@settings(max_examples=500, deadline=None)
@given(
    name=st.sampled_from(ONE_SEQUENCE),
    device=machines,
    side=st.integers(100, 3000),
    factor=st.integers(1, 4),
    detail=st.sampled_from(["auto", "full"]),
)
def test_a_larger_image_never_takes_less(
    name: str, device: Device, side: int, factor: int, detail: Any
) -> None:
    small = request_of(name, [(side, side)], device=device, detail=detail)
    large = replace(small, images=((side * factor, side * factor),))

    assert worse(compute(small, device), compute(large, device))


@settings(max_examples=500, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    asked=requests,
    memories=st.lists(st.integers(GB, 600 * GB), min_size=2, max_size=2).map(sorted),
)
def test_a_larger_machine_never_has_a_worse_verdict(
    name: str, asked: dict[str, Any], memories: list[int]
) -> None:
    small, large = (Device("made up", memory, memory * 3 // 4) for memory in memories)
    try:
        request = request_of(name, device=small, **asked)
        verdicts = [compute(request, device).verdict for device in (large, small)]
    except ImageError:
        return

    assert ORDER.index(verdicts[0]) <= ORDER.index(verdicts[1])


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(ONE_SEQUENCE), device=machines, size=sizes, detail=st.sampled_from(["auto", "full"])
)
def test_what_is_said_to_fit_does_and_a_bit_more_does_not(
    name: str, device: Device, size: tuple[int, int], detail: Any
) -> None:
    request = request_of(name, [size], device=device, detail=detail)

    def fits(other: Request) -> bool:
        return compute(other, device).verdict == "fits"

    count = most_images(request, fits, at_most=40)
    if count:
        assert fits(replace(request, images=(size,) * count))
    if count < 40:
        assert not fits(replace(request, images=(size,) * (count + 1)))
    if (largest := largest_image(request, fits)) is not None:
        assert fits(replace(request, images=(largest,)))
        assert not fits(request)
    if (prompt := longest_prompt(request, fits)) is not None:
        assert fits(replace(request, images=(), text_tokens=prompt))
