"""What the model is trained on: its answers, and two hints that are dropped afterwards.

Answers alone teach slowly: nothing tells the encoder which of its features is meant to be a circle, and
nothing tells the language model that there is a first image and a second. So the word for what an image
shows must lie near one of its features already when they leave the encoder, and the word for its number
near all of them after the first layer. Both use the embedding table, and add no parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from tools.train_demo.conversations import ORDINALS
from tools.train_demo.drawings import COLOURS, SHAPES, SIDES

if TYPE_CHECKING:
    import mlx.core as mx
    from tokenizers import Tokenizer

    from tools.train_demo.batches import Batch, Rows

__all__ = ["Losses", "Outcome", "arrays"]

_HINT = 0.3
"""What a hint counts beside the answers."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the answers of some rows went."""

    loss: mx.array
    """Summed over the tokens, as they are weighted."""
    order: mx.array
    """How far the image tokens are from the word for their image's number."""
    right: mx.array
    """For every token of an answer, whether it would have been written."""


class Losses:
    """The loss of a batch."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        import mlx.core as mx

        def ids(*words: str) -> mx.array:
            return mx.array([tokenizer.token_to_id(word) for word in words])

        self._shown = (
            ids(*(f"Ġ{colour}" for colour in COLOURS)),
            ids(*(f"Ġ{shape}" for shape in SHAPES)),
            ids(*SIDES),
        )
        self._ordinals = ids(*(f"Ġ{ordinal}" for ordinal in ORDINALS))

    def __call__(self, model: Any, batch: dict[str, Any]) -> tuple[mx.array, list[mx.array]]:
        """The loss, and for every kind of rows which tokens of the answers were right."""
        features = model.vision_tower(batch["patches"], batch["grids"], output_hidden_states=False)
        kinds = [rows for rows in (batch["alone"], batch["pairs"]) if rows is not None]
        outcomes = [self._answers(model, features, rows) for rows in kinds]
        number = sum(rows["ids"].shape[0] for rows in kinds)
        total = sum(outcome.loss for outcome in outcomes) / number
        hints = self._features(model, features, batch["owner"], batch["truth"])
        if batch["pairs"] is not None:
            hints = hints + outcomes[-1].order
        return total + _HINT * hints, [outcome.right for outcome in outcomes]

    def _answers(self, model: Any, features: mx.array, rows: dict[str, mx.array]) -> Outcome:
        """The language model as it stands in mlx-vlm, with a look between its layers."""
        import mlx.core as mx
        from mlx.nn.losses import cross_entropy

        text, places = model.language_model.model, rows["features"]
        hidden = mx.where(
            (places >= 0)[..., None], features[mx.maximum(places, 0)], text.embed_tokens(rows["ids"])
        )
        turns = text.layers[0].self_attn.rotary_emb(hidden, rows["positions"])
        first, *others = text.layers
        hidden = first(hidden, "causal", None, rows["positions"], turns)
        order = _mean(self._lens(model, hidden, self._ordinals), rows["ordinals"])
        for layer in others:
            hidden = layer(hidden, "causal", None, rows["positions"], turns)
        # The rows are padded at their ends, which no earlier token sees.
        hidden = text.norm(hidden).reshape(-1, hidden.shape[-1])[rows["answered"]]
        logits = text.embed_tokens.as_linear(hidden)
        loss = (cross_entropy(logits, rows["answers"]) * rows["weights"]).sum()
        return Outcome(loss, order, mx.stop_gradient(mx.argmax(logits, -1) == rows["answers"]))

    def _features(self, model: Any, features: mx.array, owner: mx.array, truth: mx.array) -> mx.array:
        """How far each drawing's features are from the words for what it shows."""
        import mlx.core as mx

        total = mx.array(0.0)
        for kind, words in enumerate(self._shown):
            near = self._lens(model, features, words)
            most = mx.stop_gradient(near.max(0))
            # One of a drawing's features is enough: the softest maximum over them.
            nearest = mx.log(owner @ mx.exp(near - most) + 1e-20) + most
            total = total + _mean(nearest, truth[:, kind])
        return total

    def _lens(self, model: Any, hidden: mx.array, words: mx.array) -> mx.array:
        """How near vectors are to the embeddings of words."""
        import mlx.core as mx

        # Without the norm the features grow for the sake of this alone, and training diverges.
        scaled = hidden * mx.rsqrt((hidden * hidden).mean(-1, keepdims=True) + 1e-3)
        near: mx.array = scaled @ model.language_model.model.embed_tokens.weight[words].T
        return near


def arrays(batch: Batch) -> dict[str, Any]:
    """A batch as MLX's arrays."""
    import mlx.core as mx
    import numpy as np

    # How many cells of merged patches there are, and which drawing each belongs to.
    counts = batch.grids[:, 1] * batch.grids[:, 2] // 4
    owner = np.repeat(np.arange(len(counts)), counts) == np.arange(len(counts))[:, None]
    return {
        "patches": mx.array(batch.patches),
        "grids": mx.array(batch.grids),
        "truth": mx.array(batch.truth),
        "owner": mx.array(owner.astype(np.float32)),
        "alone": _rows(batch.alone),
        "pairs": None if batch.pairs is None else _rows(batch.pairs),
    }


def _rows(rows: Rows) -> dict[str, mx.array]:
    import mlx.core as mx

    return {field.name: mx.array(getattr(rows, field.name)) for field in fields(rows)}


def _mean(logits: mx.array, wanted: mx.array) -> mx.array:
    """Cross-entropy, averaged over where `wanted` is not negative."""
    import mlx.core as mx
    from mlx.nn.losses import cross_entropy

    known = wanted >= 0
    loss: mx.array = (cross_entropy(logits, mx.maximum(wanted, 0)) * known).sum() / mx.maximum(known.sum(), 1)
    return loss
