"""docs/fits.md: the memory of every model in every quantization, and where it fits."""

from __future__ import annotations

from collections.abc import Iterator

from loader.device import find
from registry.choice import gigabytes
from tools.generate import facts
from tools.generate.markdown import table

HEAD = """\
<!-- Made by `make generated` from registry/models and registry/devices.yaml, by loader.estimate. -->
# What fits
The memory of one question about a photo of 12 megapixels (4032x3024, `detail="auto"`) with an answer of
{answer} tokens, for every model in every quantization that its card lists. **These are estimates**: the
weights were counted, the rest follows formulas that were not measured on Metal, with a margin
([Memory, measured](memory.md)).

- *weights*: bytes of the model's weights. *in all*: the most at any moment; *over*: a part is not known.
- `fits`: within what the GPU may use. `pages`: MLX allocates it, and the machine crawls. `refuses`: MLX does
  not allocate it. `unknown`: what is known fits. Other programs need memory, too, and are not counted here.

Your machine, other images, longer prompts and answers: `mlx-cards plan NAME photo.jpg`, `mlx-cards fit`. What
the columns stand for:

"""


def page() -> str:
    """The text of docs/fits.md."""
    return HEAD.format(answer=facts.ANSWER) + "\n".join([*_devices(), "", *_table(), "", *_left_out(), ""])


def _devices() -> Iterator[str]:
    machines = [find(device) for device in facts.DEVICES]
    rows = [(it.name, gigabytes(it.working_set), gigabytes(it.limit)) for it in machines]
    return table(("machine", ">the GPU may use", ">MLX allocates at most"), rows)


def _table() -> Iterator[str]:
    converted = (card for card in facts.models() if card.model and card.model.quantizations)
    rows = [(f"`{card.name}`", *row) for card in converted for row in facts.memory_rows(card)]
    return table(("model", *facts.HEADS), rows)


def _left_out() -> Iterator[str]:
    names = [f"`{card.name}`" for card in facts.models() if card.model and not card.model.quantizations]
    if names:
        yield f"Not in the table, as no MLX conversion is listed: {', '.join(names)}."
