"""Photographs of several sizes, made from the one in examples/: `python -m tools.bench.photographs FOLDER`.

The one of 12 megapixels is the photograph itself. Smaller, it is resampled. Larger, it gets film grain on
top: merely enlarged it would be smooth, and a JPEG of it a fraction of what a camera writes and faster to
decode. With this grain the file has a quarter of a byte a pixel. Like the original, and as phones do it, all
JPEGs are stored turned, with EXIF orientation 6.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["ORIGINAL", "PHOTOGRAPHS", "write"]

ORIGINAL = Path(__file__).parents[2] / "examples" / "dandelion.jpg"
PHOTOGRAPHS = {
    "1 MP JPEG": ("1.jpg", (1152, 864)),
    "12 MP JPEG": ("12.jpg", (4032, 2988)),
    "48 MP JPEG": ("48.jpg", (8064, 5976)),
    "108 MP JPEG": ("108.jpg", (12000, 9000)),
    "12 MP PNG": ("12.png", (4032, 2988)),
}
"""Name of a photograph -> its file, and its width and height when upright."""
GRAIN = 6.0
"""Standard deviation of the brightness, in levels of 255."""
QUALITY = 88
_ORIENTATION, _TURNED = 0x0112, 6
_ROWS = 256
"""Rows that get their grain at once."""


def write(name: str, folder: Path) -> Path:
    """The file of one photograph, which is always the same."""
    from PIL import Image, ImageOps

    file, size = PHOTOGRAPHS[name]
    path = folder / file
    with Image.open(ORIGINAL) as original:
        picture = ImageOps.exif_transpose(original)
    if size == picture.size and path.suffix == ORIGINAL.suffix:
        return Path(shutil.copyfile(ORIGINAL, path))
    if size != picture.size:
        enlarged = size[0] > picture.width
        picture = ImageOps.fit(picture, size, Image.Resampling.BICUBIC)
        picture = _grainy(picture) if enlarged else picture
    if path.suffix == ".png":
        picture.save(path)
        return path
    exif = Image.Exif()
    exif[_ORIENTATION] = _TURNED
    picture.transpose(Image.Transpose.ROTATE_90).save(path, quality=QUALITY, exif=exif)
    return path


def _grainy(picture: Image.Image) -> Image.Image:
    import numpy as np
    from PIL import Image

    pixels = np.array(picture)
    random = np.random.default_rng(0)
    for top in range(0, len(pixels), _ROWS):
        rows = pixels[top : top + _ROWS]
        grain = GRAIN * random.standard_normal(rows.shape[:2], dtype=np.float32)
        rows[:] = (rows + grain[..., None]).round().clip(0, 255)
    return Image.fromarray(pixels)


if __name__ == "__main__":
    for each in PHOTOGRAPHS:
        write(each, Path(sys.argv[1]))
