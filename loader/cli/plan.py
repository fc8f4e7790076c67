"""`mlx-cards plan`: the size, tiles and tokens of images before anything is loaded, drawn on request."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import registry
from loader.cli import memory
from loader.cli.common import as_json, detail, max_tokens, print_json, printable, private
from loader.errors import ImageError, UnsupportedFeatureError, takes_no_images
from loader.parts import parts
from loader.resize import Detail, ImagePlan, Size, plan_images, room_for

if TYPE_CHECKING:
    import PIL.Image

    from loader.image import Opened
    from registry.cards import Card

_SIZE = re.compile(r"(\d{1,6})x(\d{1,6})")
_FORMATS: dict[str, dict[str, Any]] = {
    ".png": {"format": "PNG"},
    ".jpg": {"format": "JPEG", "quality": 90, "subsampling": 0},
    ".jpeg": {"format": "JPEG", "quality": 90, "subsampling": 0},
    ".webp": {"format": "WEBP", "quality": 90},
}
"""How a picture is written, by the end of its name."""


@click.command()
@click.argument("name")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE|WxH...")
@detail
@max_tokens
@click.option("--show", metavar="FILE", help="Draw what the model sees of one image: .png, .jpg or .webp.")
@private
@memory.device
@memory.context
@memory.kv_bits
@memory.answer
@as_json
def plan(
    name: str,
    images: tuple[str, ...],
    detail: Detail,
    max_image_tokens: int | None,
    show: str | None,
    allow_private_urls: bool,
    device: str | None,
    context: int | None,
    kv_bits: str | None,
    max_tokens: int,
    as_json: bool,
) -> None:
    """Show what model NAME will see of images, given as paths, URLs or sizes, in one question together, and
    the memory that it takes.

    \b
    mlx-cards plan qwen2.5-vl-32b photo.jpg
    mlx-cards plan qwen2.5-vl-32b photo.jpg --show seen.png
    mlx-cards plan qwen2.5-vl-32b photo.jpg --device m4-pro-24gb --context 8k
    mlx-cards plan smolvlm2-500m 4032x3024 --detail full
    mlx-cards plan qwen3-vl-8b 1000x20000 --max-image-tokens 600
    """
    card = registry.card(name)
    if show is not None:
        _check_target(show, images)
    opened = [_opened(card, image, allow_private_urls) for image in images]
    sizes = [it if isinstance(it, tuple) else it.size for it in opened]
    positions = card.model.context if card.model else None
    planned = plan_images(card, sizes, detail, max_image_tokens, room=room_for(positions, 0, max_tokens))
    taken = memory.of_model(
        name,
        card,
        device,
        planned,
        detail=detail,
        max_image_tokens=max_image_tokens,
        max_tokens=max_tokens,
        context=context,
        kv_bits=kv_bits,
    )
    plans = list(zip(images, planned, strict=True))
    if show is not None and not isinstance(opened[0], tuple):
        _write(show, opened[0].pixels().image, plans[0][1], card)
    tokens = sum(plan.image_tokens for _, plan in plans)
    if as_json:
        rows = [{"from": image, **plan.to_dict(), **_parts(plan, card)} for image, plan in plans]
        data = {"name": card.name, "images": rows, "image_tokens": tokens, "context": positions}
        print_json({**data, "memory": None if taken is None else taken.to_dict()})
        return
    for image, plan in plans:
        facts = parts(plan, card).facts
        line = f"{plan.note} ({facts})" if facts else plan.note
        click.echo(line if _SIZE.fullmatch(image) else f"{_label(image)}: {line}")
    of_context = "" if positions is None else f" of {positions:,} positions"
    click.echo(click.style(f"{tokens:,} image tokens{of_context}", bold=True))
    if taken is not None:
        taken.show()


def _parts(plan: ImagePlan, card: Card) -> dict[str, Any]:
    """What a program may want to know of the tiles; None where the family has no such thing."""
    seen = parts(plan, card)
    side = round(seen.cells.side) if seen.cells.unit == "token" else None
    return {
        "tile": list(seen.tile),
        "tile_tokens": [tile.tokens for tile in seen.tiles],
        "overview_tokens": seen.overview.tokens if seen.overview else None,
        "pixels_per_token": side and [side, side],
    }


def _check_target(show: str, images: tuple[str, ...]) -> None:
    """Raises UsageError or UnsupportedFeatureError before anything is opened."""
    if len(images) != 1:
        raise click.UsageError(f"--show draws one image, and {len(images)} are given. Run it for each.")
    if _SIZE.fullmatch(images[0]):
        raise click.UsageError(
            f"--show draws an image, and {images[0]} is a size, without pixels. Give a path or a URL."
        )
    if Path(show).suffix.lower() not in _FORMATS:
        raise UnsupportedFeatureError(
            f"{printable(show) or repr(show)} does not end like a picture that can be written. "
            f"Choose a name that ends in {', '.join(_FORMATS)}."
        )
    try:
        same = Path(show).samefile(images[0])
    except (OSError, ValueError):
        same = False  # one of the two is not there, or no path at all
    if same:
        raise click.UsageError("--show would overwrite the image itself. Choose another name.")


def _opened(card: Card, image: str, allow_private_urls: bool) -> Opened | Size:
    """A source, or a size written out."""
    if size := _size(image):
        return size
    from loader.image import Opened

    if card.image is None:
        raise takes_no_images(card.name)
    opened = Opened(image, background=card.image.background, allow_private_urls=allow_private_urls)
    return _checked(opened)


def _write(show: str, picture: PIL.Image.Image, plan: ImagePlan, card: Card) -> None:
    """The drawing as a file, in one step, so that a failure leaves no half of it."""
    from loader.draw import draw

    file = io.BytesIO()
    draw(picture, plan, card).save(file, **_FORMATS[Path(show).suffix.lower()])
    try:
        Path(show).write_bytes(file.getvalue())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{show} cannot be written: {reason}. Choose another place with --show.") from error
    click.echo(f"{printable(show)} shows what {card.name} sees", err=True)


def _label(image: str) -> str:
    from loader.source import describe

    return printable(describe(image))


def size_of(image: str, allow_private_urls: bool = False) -> Size:
    """Width and height of an upright image, from WxH or from a source."""
    if size := _size(image):
        return size
    from loader.image import Opened

    return _checked(Opened(image, allow_private_urls=allow_private_urls)).size


def _checked(opened: Opened) -> Opened:
    """Decoded as coarsely as can be: a file that is cut short has a size, too, and is no use."""
    opened.pixels(at_least=(1, 1))
    return opened


def _size(image: str) -> Size | None:
    match = _SIZE.fullmatch(image)
    return (int(match[1]), int(match[2])) if match else None
