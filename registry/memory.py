"""What a card may say about memory: dimensions, from which bytes are computed. Never megabytes.

What they are computed into: loader.memory.
"""

from __future__ import annotations

from typing import Annotated, Literal

from registry.data import Count, Positive, Rule, record


@record
class VisionTower:
    """Dimensions of the vision encoder, for the memory estimate."""

    layers: Positive
    """Transformer blocks."""
    hidden: Positive
    """Width of the hidden state."""
    heads: Positive
    """Attention heads."""
    intermediate: Positive
    """Width of the feed-forward part."""
    attention: Literal["segments", "windows", "batch", "joint"]
    """segments: within an image; windows: in windows, a few layers fully; batch: pictures in a batch; joint:
    all images of a call as one sequence, with a mask that keeps them apart."""
    full_layers: tuple[int, ...] = ()
    """With windows: the layers that attend to the whole image, from 0."""
    separate: Positive | None = None
    """With segments: so many images, from the first, attend within themselves; the backend lets all later
    ones attend to each other. Absent: every image attends within itself."""
    extra: Count = 0
    """Rows besides patches, class tokens for example: of each picture with batch, of each image otherwise."""
    mask: bool = False
    """With batch and segments: the backend computes all of them at once, with a mask of rows x rows in the
    precision of the scores."""
    explicit: bool = False
    """The backend multiplies out the attention scores itself, in 32 bits, so that no kernel can fuse them."""
    one_hot: Count = 0
    """Elements of one-hot codes of its position that the backend makes for each row, before the blocks."""
    float32: Literal["vision", "all"] | None = None
    """The backend never casts the pixels to the weights' precision, so that the encoder computes in 32 bits.
    With `all` it does not cast the features either, and the language model computes and caches in 32 bits."""

    def __post_init__(self) -> None:
        if self.full_layers and self.attention != "windows":
            raise ValueError("full_layers: only with `attention: windows`")
        if self.separate is not None and self.attention != "segments":
            raise ValueError("separate: only with `attention: segments`")


@record
class Memory:
    """Dimensions from which memory is computed. Language dimensions stand with each model."""

    vision: VisionTower
    """The vision encoder."""


@record
class Cache:
    """What some layers of a language model keep of a sequence.

    All layers that keep the same are one entry; a layer that keeps two things is in two.
    Keys and values, compressed or not, are a number of elements for every position. The state of linear
    attention or of a convolution is a number of elements whatever the length.
    """

    layers: Positive
    """Layers that keep this. Those that use another layer's cache keep nothing."""
    width: Positive | None = None
    """Elements of one position in one layer, keys and values together, as the backend caches them."""
    state: Positive | None = None
    """Elements of one layer that do not depend on the length."""
    float32: bool = False
    """The elements are kept in 32 bits, whatever the precision of the weights."""
    window: Positive | None = None
    """Positions that are kept. Absent: all."""
    of: Literal["prompt", "images"] = "prompt"
    """Whose positions: those of prompt and answer, or the states of images that cross-attention sees."""

    def __post_init__(self) -> None:
        if (self.width is None) == (self.state is None):
            raise ValueError("a cache has either a width or a state")
        if self.window is not None and self.width is None:
            raise ValueError("window: only with a width")
        if self.of == "images" and (self.width is None or self.window is not None):
            raise ValueError("of: the states of images need a width, and no window")


@record
class TextTower:
    """Dimensions of the language model."""

    layers: Positive
    """Transformer blocks."""
    hidden: Positive
    """Width of the hidden state."""
    heads: Positive
    """Query heads."""
    kv_heads: Positive
    """Key and value heads."""
    head_dim: Positive
    """Width of one query head; with layers of several kinds, of the widest."""
    intermediate: Positive | None = None
    """Width of the feed-forward part; absent where every layer has experts instead."""
    vocab: Positive
    """Rows of the embedding table."""
    tied: bool = False
    """The output projection is the embedding table."""
    window: Positive | None = None
    """Positions that a sliding-window layer sees."""
    full_every: Positive | None = None
    """With a window: every n-th layer sees all positions."""
    cache: Annotated[tuple[Cache, ...], Rule(min_length=1)] | None = None
    """What the layers keep. Absent: keys and values of `kv_heads` x `head_dim`, in every layer, `window` and
    `full_every` observed."""
    dense_layers: Count = 0
    """With experts: the layers that have the feed-forward part instead."""
    experts: Positive | None = None
    """Experts in one layer of a mixture of experts."""
    active_experts: Positive | None = None
    """Experts that one token uses."""
    expert_intermediate: Positive | None = None
    """Width of one expert."""
    shared_intermediate: Positive | None = None
    """Width of what every token uses beside its experts."""

    def __post_init__(self) -> None:
        if self.intermediate is None and (self.expert_intermediate is None or self.dense_layers):
            raise ValueError("intermediate: needed where a layer has no experts")
        if self.dense_layers and self.experts is None:
            raise ValueError("dense_layers: only with experts")
        if self.full_every is not None and self.window is None:
            raise ValueError("full_every: only with a window")
        if self.cache is not None and self.window is not None:
            raise ValueError("window: with a `cache`, its entries have it")

    @property
    def caches(self) -> tuple[Cache, ...]:
        """What the layers keep, also where the card leaves it to the other dimensions."""
        if self.cache is not None:
            return self.cache
        width = 2 * self.kv_heads * self.head_dim
        if self.window is None:
            return (Cache(layers=self.layers, width=width),)
        full = self.layers // self.full_every if self.full_every else 0
        sliding = Cache(layers=self.layers - full, width=width, window=self.window)
        return (sliding, Cache(layers=full, width=width)) if full else (sliding,)
