"""`mlx-cards plan`: the size, tiles and tokens of images before anything is loaded."""

from __future__ import annotations

import re

import click

import registry
from loader.cli.common import as_json, detail, max_tokens, print_json, printable, private
from loader.resize import Detail, Size, plan_image

_SIZE = re.compile(r"(\d{1,6})x(\d{1,6})")


@click.command()
@click.argument("name")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE|WxH...")
@detail
@max_tokens
@private
@as_json
def plan(
    name: str,
    images: tuple[str, ...],
    detail: Detail,
    max_image_tokens: int | None,
    allow_private_urls: bool,
    as_json: bool,
) -> None:
    """Show what model NAME will see of images, given as paths, URLs or sizes.

    \b
    mlx-cards plan qwen2.5-vl-32b photo.jpg
    mlx-cards plan smolvlm2-500m 4032x3024 --detail full
    mlx-cards plan qwen3-vl-8b 1000x20000 --max-image-tokens 600
    """
    card = registry.card(name)
    plans = [
        (image, plan_image(card, *size_of(image, allow_private_urls), detail, max_image_tokens))
        for image in images
    ]
    tokens = sum(plan.image_tokens for _, plan in plans)
    context = card.model.context if card.model else None
    if as_json:
        rows = [{"from": image, **plan.to_dict()} for image, plan in plans]
        print_json({"name": card.name, "images": rows, "image_tokens": tokens, "context": context})
        return
    for image, planned in plans:
        click.echo(planned.note if _SIZE.fullmatch(image) else f"{_label(image)}: {planned.note}")
    of_context = "" if context is None else f" of {context:,} positions"
    click.echo(click.style(f"{tokens:,} image tokens{of_context}", bold=True))


def _label(image: str) -> str:
    from loader.image import describe

    return printable(describe(image))


def size_of(image: str, allow_private_urls: bool = False) -> Size:
    """Width and height of an upright image, from WxH or from a source."""
    if match := _SIZE.fullmatch(image):
        return int(match[1]), int(match[2])
    from loader.image import open_image

    return open_image(image, allow_private_urls=allow_private_urls).size
