"""One measurement: a file under measurements/<chip>/, what was measured and on what. It holds no estimate.

The schema for editors and other tools is schemas/measurement.schema.json, which `make generated` writes.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from loader.resize import Size
from tools.measure.cases import ROOT, Changes, card_of

MEASUREMENTS = ROOT / "measurements"
CHIP = r"[a-z0-9]+(-[a-z0-9]+)*"

Positive = Annotated[int, Field(ge=1)]


class Machine(BaseModel):
    """What it was measured on."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    chip: Annotated[str, Field(pattern=f"^{CHIP}$")]
    """The processor, as the folder is named: m3-max, amd-epyc."""
    memory: Positive
    """Bytes of memory."""
    system: str
    """Operating system, its version, and the architecture."""
    packages: dict[str, str]
    """Versions of mlx and mlx-vlm at least."""

    @model_validator(mode="after")
    def _versions(self) -> Machine:
        if missing := {"mlx", "mlx-vlm"} - self.packages.keys():
            raise ValueError(f"packages: the version of {' and '.join(sorted(missing))} is missing")
        return self


class Measurement(BaseModel):
    """One question about images, and what MLX allocated at most."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    schema_version: Literal[1] = 1
    """Version of this format."""
    date: datetime.date
    """Day of the run."""
    machine: Machine
    """What it was measured on."""
    engine: Literal["metal", "cpu"]
    """What computed: Apple's GPU, or MLX's backend for processors."""
    model: str
    """Name of the model, as in `mlx-cards list`."""
    quantization: str
    """Of the weights: bf16, 4bit."""
    changes: Changes | None = None
    """How the measured model differs from the released one; absent: it is the released one."""
    products: Literal["computed", "skipped"]
    """Whether matrix products were computed. Skipped, each paused instead; all allocations are the same."""
    images: Annotated[tuple[tuple[Positive, Positive], ...], Field(min_length=1)]
    """Width and height of each image."""
    detail: Literal["auto", "low", "full"]
    """How images were shrunk, as in `plan_image`."""
    prompt_tokens: Positive
    """Positions of the prompt, those of images included."""
    image_tokens: Annotated[int, Field(ge=0)]
    """Positions that hold image features."""
    answer_tokens: Positive
    """Tokens that were asked for."""
    weights: Positive
    """Bytes that MLX held after loading (mx.get_active_memory)."""
    peak: Positive
    """Bytes that MLX had allocated at most during the answer, weights included (mx.get_peak_memory)."""
    seconds: Annotated[float, Field(ge=0)]
    """From prepared inputs to the end of the answer."""

    @model_validator(mode="after")
    def _sound(self) -> Measurement:
        if self.peak <= self.weights:
            raise ValueError("peak: this is not more than the weights")
        if self.image_tokens >= self.prompt_tokens:
            raise ValueError("image_tokens: these are no fewer than all positions of the prompt")
        try:
            card_of(self.model, self.changes)
        except (LookupError, TypeError, ValueError) as error:
            raise ValueError(f"model: {error}") from error
        return self


def file_of(
    folder: Path, chip: str, model: str, images: Sequence[Size], *, products: str, quantization: str
) -> Path:
    """Where a measurement is: named by model, images, and what is not as usual."""
    shown = "_".join(f"{width}x{height}" for width, height in images)
    unusual = [quantization] * (quantization != "bf16") + [products] * (products != "computed")
    return folder / chip / ("_".join([model, shown, *unusual]) + ".json")


def write(run: Measurement, folder: Path) -> Path:
    """Write a measurement where it belongs under `folder`, and return the file."""
    file = file_of(
        folder, run.machine.chip, run.model, run.images, products=run.products, quantization=run.quantization
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    data = run.model_dump(mode="json", exclude_none=True)
    file.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    return file


def read(file: Path) -> Measurement:
    """A measurement.

    Raises ValueError with the file, the field and the reason.
    """
    try:
        run = Measurement.model_validate_json(file.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{file}: {field + ': ' if field else ''}{first['msg']}") from error
    if file.parent.name != run.machine.chip:
        raise ValueError(
            f"{file}: machine.chip: this is {run.machine.chip}, and the folder is {file.parent.name}"
        )
    return run


def read_all(folder: Path) -> tuple[list[Measurement], list[str]]:
    """All measurements under a folder, and what is wrong with the others."""
    runs, faults = [], []
    for file in sorted(folder.glob("*/*")):
        try:
            runs.append(read(file))
        except ValueError as error:
            faults.append(str(error))
    return runs, faults


def schema_text() -> str:
    """The text of schemas/measurement.schema.json."""
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Measurement.model_json_schema(),
    }
    return json.dumps(schema, indent=2) + "\n"
