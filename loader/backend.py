"""mlx and mlx-vlm behind one small surface. No other module imports them, but loader.text_backend for mlx-lm.

The backend is called with tensors that were prepared and checked here, not with a prompt and image
paths, because its own preparation drops images, forwards arguments that processors refuse, and
accepts a prompt with too few placeholders (mlx-vlm 0.7.10).
"""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loader.checkpoint.dimensions import seeing
from loader.errors import CheckpointError, UnsupportedFeatureError
from loader.installed import check_version
from loader.prompt.encode import Encoder
from loader.sampling import Sampling

if TYPE_CHECKING:
    import PIL.Image

    from loader.prompt import Prompt
    from loader.resize.plan import Setting
    from registry.cards import Backend as Requirements
    from registry.vision import Image

_IMAGE_TOKEN_KEYS = ("image_token_id", "image_token_index")
"""Where config.json names the token that image features replace."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """A prompt and its images as tensors."""

    tensors: dict[str, Any]
    prompt_tokens: int
    image_tokens: int
    """Positions that image features go to."""

    @property
    def highest_id(self) -> int:
        """The highest number of a token in the prompt."""
        return int(self.tensors["input_ids"].max().item())

    def spliced(self, features: int, images: int) -> Inputs:
        """The same where each image has one position, in the place of which the model puts its features."""
        if self.image_tokens != images:
            return self
        return Inputs(self.tensors, self.prompt_tokens - images + features, features)


@dataclass(frozen=True, slots=True)
class Piece:
    """What one step of generation adds."""

    text: str
    tokens: int
    """Tokens generated so far."""
    finish_reason: str | None


class Backend:
    """A model and its processor, loaded."""

    def __init__(
        self,
        folder: Path,
        requirements: Requirements,
        *,
        trust_remote_code: bool = False,
        weights: bool = True,
    ) -> None:
        """`weights=False` loads the processor alone, which prepares and counts but cannot answer."""
        check_version(requirements)
        try:
            self._model, self._processor = loaded(folder, trust_remote_code, weights)
        except Exception as error:  # the backend raises anything from KeyError to RuntimeError
            raise CheckpointError(
                f"{requirements.package} cannot load {folder.name}: {first_line(error)}. "
                "Check that the download is complete and that the checkpoint is an MLX conversion."
            ) from error
        self._check_processor(folder, requirements)
        self._tokenizer: Any = getattr(self._processor, "tokenizer", self._processor)
        self._encoder = encoder_of(self._tokenizer)
        self._preparing = threading.Lock()

    def control_tokens(self, prompt: Prompt) -> frozenset[str]:
        """Tokens of the checkpoint's tokenizer that steer the model, those of the prompt's own included."""
        if self._encoder is not None:
            return self._encoder.control(prompt)
        return frozenset(self._tokenizer.all_special_tokens)

    def can_encode(self, prompt: Prompt) -> bool:
        """Whether typed control tokens can be kept apart: without images, and with a fast tokenizer.

        Processors take one string, in which they replace placeholders.
        """
        return self._encoder is not None and not prompt.images

    def count(self, prompt: Prompt) -> int:
        """Positions of a prompt, its placeholders not expanded."""
        if self._encoder is not None:
            return len(self._encoder.encode(prompt))
        return len(self._tokenizer(**self._call(prompt.text))["input_ids"][0])

    def _check_processor(self, folder: Path, requirements: Requirements) -> None:
        loaded = type(self._processor).__name__
        if loaded != requirements.processor:
            raise CheckpointError(
                f"The processor of {folder.name} loaded as {loaded} instead of "
                f"{requirements.processor}, which would drop images without a word. "
                "Check its preprocessor_config.json and tokenizer files, or download it again."
            )

    def check_image_token(self, token: str, config: Mapping[str, Any]) -> None:
        """The model puts image features where its config says: that must be where the prompt has `token`.

        Raises CheckpointError where it is not: some architectures would answer blindly.
        """
        wanted, config = self.token_id(token), seeing(config)
        for key in _IMAGE_TOKEN_KEYS:
            if config.get(key, wanted) != wanted:
                raise CheckpointError(
                    f"config.json has {key} {config[key]}, and the tokenizer has {wanted} for {token!r}: the "
                    "model would not see its images. Get the checkpoint again, or tell its maker."
                )

    def token_id(self, token: str) -> int:
        """The id of a control token.

        Raises CheckpointError where the tokenizer does not have it.
        """
        found = self._tokenizer.convert_tokens_to_ids(token)
        if not isinstance(found, int) or found == self._tokenizer.unk_token_id:
            raise CheckpointError(
                f"The tokenizer has no token {token!r}, which the card names as the image token. "
                "Check that the checkpoint belongs to this family."
            )
        return found

    def prepare(
        self,
        prompt: Prompt,
        images: Sequence[PIL.Image.Image],
        image: Image | None,
        *,
        setting: Setting | None = None,
        as_string: bool = False,
    ) -> Inputs:
        """A prompt and `images` (already at the size that the model sees) as tensors.

        `setting`: what the images' plans lower a limit of the processor to. `as_string`: typed control
        tokens act as such. Raises CheckpointError with the processor's own words where it refuses them.
        """
        # No `padding`: one prompt needs none, and llava's processor passes it to its image
        # processor, which refuses it.
        try:
            if images:
                with self._lowered(setting):
                    tensors = _tensors(self._processor(**self._call(prompt.text), images=list(images)))
            else:
                tensors = self._encode(prompt, as_string=as_string)
        except CheckpointError:
            raise
        except Exception as error:
            raise CheckpointError(
                f"The processor refused the prompt: {first_line(error)}. "
                "Check that the checkpoint's own configuration agrees with the card."
            ) from error
        ids: list[int] = tensors["input_ids"].flatten().tolist()
        return Inputs(tensors, len(ids), self._image_positions(ids, image))

    @contextlib.contextmanager
    def _lowered(self, setting: Setting | None) -> Iterator[None]:
        """The processor with one limit lowered, for one call: others wait, and find it as it was."""
        with self._preparing:
            if setting is None:
                yield
                return
            name, value = setting
            *path, last = name.split(".")
            owner = self._processor
            for part in path:
                owner = _get(owner, part)
            before = _get(owner, last)
            if not isinstance(before, int):  # a bool is one, too
                raise CheckpointError(
                    f"The processor has no limit {name}, which the card names: it is another version of it. "
                    "Ask without a limit to image tokens and pixels (detail='full')."
                )
            # A checkpoint that has a lower limit of its own keeps it.
            _set(owner, last, min(before, value))
            try:
                yield
            finally:
                _set(owner, last, before)

    def _image_positions(self, ids: list[int], image: Image | None) -> int:
        if image is None:
            return 0
        if image.positions == "token":
            return ids.count(self.token_id(image.token))
        return sum(number < 0 for number in ids)

    def _call(self, text: str) -> dict[str, Any]:
        bos = self._tokenizer.bos_token
        if bos and text.startswith(bos):  # the prompt brings its own start token
            return {"text": [text], "add_special_tokens": False}
        return {"text": [text]}

    def _encode(self, prompt: Prompt, *, as_string: bool) -> dict[str, Any]:
        """A prompt without images: the tokenizer alone, because processors demand images."""
        import mlx.core as mx

        if self._encoder is None or as_string:
            rows = self._tokenizer(**self._call(prompt.text))
            return {name: mx.array(row) for name, row in rows.items()}
        ids = self._encoder.encode(prompt)
        return {"input_ids": mx.array([ids]), "attention_mask": mx.ones((1, len(ids)), dtype=mx.int32)}

    def generate(self, inputs: Inputs, sampling: Sampling) -> Iterator[Piece]:
        """Generate until the model stops or `sampling.max_tokens` are reached."""
        for step in self._steps(inputs, sampling):
            yield Piece(step.text, step.generation_tokens, step.finish_reason)

    def next_token(self, inputs: Inputs) -> list[float]:
        """Log-probability of each token of the vocabulary to be the first of the answer."""
        import mlx.core as mx

        with contextlib.closing(self._steps(inputs, Sampling(max_tokens=1))) as steps:
            found: list[float] = next(steps).logprobs.astype(mx.float32).flatten().tolist()
        return found

    def reached(self, one: Inputs, other: Inputs) -> int | None:
        """Positions to which the model hands features of images: those where `other`, the same prompt about
        images of the same sizes, becomes something else. None where they are no positions of the prompt.
        """
        first, second = (self._embedded(inputs) for inputs in (one, other))
        if first.cross_attention_states is not None:
            return None
        return int((first.inputs_embeds != second.inputs_embeds).any(axis=-1).sum())

    def _embedded(self, inputs: Inputs) -> Any:
        tensors = dict(inputs.tensors)
        ids, pixels = tensors.pop("input_ids"), tensors.pop("pixel_values", None)
        mask = tensors.pop("attention_mask", None)
        return self._model.get_input_embeddings(ids, pixels, mask=mask, **tensors)

    def _steps(self, inputs: Inputs, sampling: Sampling) -> Generator[Any, None, None]:
        from mlx_vlm.generate import stream_generate

        tensors = dict(inputs.tensors)
        options = {
            name: value for name in Sampling.__slots__ if (value := getattr(sampling, name)) is not None
        }
        steps = stream_generate(
            self._model,
            self._processor,
            "",
            input_ids=tensors.pop("input_ids"),
            pixel_values=tensors.pop("pixel_values", None),
            mask=tensors.pop("attention_mask", None),
            **tensors,
            **options,
        )
        try:
            yield from steps
        except Exception as error:
            raise CheckpointError(
                f"The backend failed while answering: {first_line(error)}. "
                "Check the sampling options, and that the checkpoint is complete and of this family."
            ) from error
        finally:
            steps.close()


def loaded(folder: Path, trust_remote_code: bool, weights: bool) -> tuple[Any, Any]:
    """The model (None without weights) and the processor."""
    from mlx_vlm.utils import get_model_and_args, load, load_config, load_processor

    if weights:
        model, processor = load(str(folder), trust_remote_code=trust_remote_code)
        return model, processor
    get_model_and_args(load_config(folder))  # imports the family's module, without which it is not found
    return None, load_processor(folder, trust_remote_code=trust_remote_code)


def upstream_prompt(folder: Path, messages: Sequence[Mapping[str, Any]]) -> str:
    """What mlx-vlm's own `apply_chat_template` makes of a conversation, for comparison.

    Raises CheckpointError where it fails.
    """
    from mlx_vlm.prompt_utils import apply_chat_template
    from mlx_vlm.utils import get_model_and_args, load_config, load_processor

    images = sum(
        isinstance(part, Mapping) and part.get("type") in ("image", "image_url", "input_image")
        for message in messages
        for part in message.get("content") or ()
    )
    try:
        config = load_config(folder)
        get_model_and_args(config)  # imports the family's module, without which its processor is not found
        processor = load_processor(folder, trust_remote_code=False)
        return str(apply_chat_template(processor, config, list(messages), num_images=images))
    except Exception as error:
        raise CheckpointError(
            f"mlx-vlm cannot render this conversation: {first_line(error)}. Leave --compare out."
        ) from error


def _tensors(made: Mapping[str, Any]) -> dict[str, Any]:
    """What a processor made, as mlx-vlm's own preparation gives it to models.

    Some processors leave arrays of numpy, some the ids as lists.
    """
    import mlx.core as mx
    import numpy as np

    listed = ("input_ids", "attention_mask")
    return {
        name: mx.array(value)
        if isinstance(value, np.ndarray) or (name in listed and isinstance(value, list))
        else value
        for name, value in made.items()
    }


def _get(owner: Any, name: str) -> Any:
    """An attribute, or the item of a dictionary; None where there is neither."""
    return owner.get(name) if isinstance(owner, dict) else getattr(owner, name, None)


def _set(owner: Any, name: str, value: int) -> None:
    if isinstance(owner, dict):
        owner[name] = value
    else:
        setattr(owner, name, value)


def encoder_of(tokenizer: Any) -> Encoder | None:
    """What keeps typed control tokens apart, None for a tokenizer that cannot."""
    try:
        return Encoder(tokenizer)
    except UnsupportedFeatureError:  # a tokenizer in Python
        return None


def metal() -> dict[str, Any] | None:
    """What Metal says of this machine: memory_size, max_recommended_working_set_size, max_buffer_length
    (bytes). None where there is no Metal."""
    import mlx.core as mx

    return dict(mx.device_info()) if mx.metal.is_available() else None


def reset_peak_memory() -> None:
    """Start counting MLX's peak memory anew."""
    import mlx.core as mx

    mx.reset_peak_memory()


def peak_memory() -> int:
    """Bytes that MLX had allocated at most since the last reset."""
    import mlx.core as mx

    return int(mx.get_peak_memory())


def free_memory() -> None:
    """Give back what MLX holds of models that nobody refers to any more."""
    import mlx.core as mx

    gc.collect()  # models refer to themselves
    mx.clear_cache()


def first_line(error: Exception) -> str:
    """What a message has room for."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return text if len(text) <= 200 else f"{text[:200]}..."
