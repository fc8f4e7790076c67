"""mlx and mlx-vlm behind one small surface. No other module imports them.

The backend is called with tensors that were prepared and checked here, not with a prompt and image
paths, because its own preparation drops images, forwards arguments that processors refuse, and
accepts a prompt with too few placeholders (mlx-vlm 0.7.10).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loader.errors import CheckpointError, UnsupportedFeatureError
from loader.sampling import Sampling

if TYPE_CHECKING:
    import PIL.Image

    from registry.cards import Backend as Requirements

_IMAGE_TOKEN_KEYS = ("image_token_id", "image_token_index")
"""Where config.json names the token that image features replace."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """A prompt and its images as tensors."""

    tensors: dict[str, Any]
    prompt_tokens: int
    image_tokens: int
    """Positions that hold the family's image token."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What one step of generation adds."""

    text: str
    tokens: int
    """Tokens generated so far."""
    finish_reason: str | None


class Backend:
    """A model and its processor, loaded."""

    def __init__(self, folder: Path, requirements: Requirements, *, trust_remote_code: bool = False) -> None:
        _check_version(requirements)
        from mlx_vlm.utils import load

        try:
            self._model, self._processor = load(str(folder), trust_remote_code=trust_remote_code)
        except Exception as error:  # the backend raises anything from KeyError to RuntimeError
            raise CheckpointError(
                f"{requirements.package} cannot load {folder.name}: {_first_line(error)}. "
                "Check that the download is complete and that the checkpoint is an MLX conversion."
            ) from error
        self._check_processor(folder, requirements)
        self._tokenizer: Any = getattr(self._processor, "tokenizer", self._processor)

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
        wanted = self.token_id(token)
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

    def prepare(self, text: str, images: Sequence[PIL.Image.Image], image_token: str | None) -> Inputs:
        """`text` and `images` (already at the size that the model sees) as tensors.

        Raises CheckpointError with the processor's own words where it refuses them.
        """
        call: dict[str, Any] = {"text": [text]}
        bos = self._tokenizer.bos_token
        if bos and text.startswith(bos):
            call["add_special_tokens"] = False  # the prompt brings its own start token
        if images:
            call["images"] = list(images)
        # No `padding`: one prompt needs none, and llava's processor passes it to its image
        # processor, which refuses it.
        try:
            tensors = dict(self._processor(**call) if images else self._encode(**call))
        except Exception as error:
            raise CheckpointError(
                f"The processor refused the prompt: {_first_line(error)}. "
                "Check that the checkpoint's own configuration agrees with the card."
            ) from error
        ids: list[int] = tensors["input_ids"].flatten().tolist()
        count = ids.count(self.token_id(image_token)) if image_token else 0
        return Inputs(tensors, len(ids), count)

    def _encode(self, text: list[str], **options: Any) -> dict[str, Any]:
        """Text without images: the tokenizer alone, because processors demand images."""
        import mlx.core as mx

        return {name: mx.array(rows) for name, rows in self._tokenizer(text, **options).items()}

    def generate(self, inputs: Inputs, sampling: Sampling) -> Iterator[Piece]:
        """Generate until the model stops or `sampling.max_tokens` are reached."""
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
            for step in steps:
                yield Piece(step.text, step.generation_tokens, step.finish_reason)
        except Exception as error:
            raise CheckpointError(
                f"The backend failed while answering: {_first_line(error)}. "
                "Check the sampling options, and that the checkpoint is complete and of this family."
            ) from error
        finally:
            steps.close()


def reset_peak_memory() -> None:
    """Start counting MLX's peak memory anew."""
    import mlx.core as mx

    mx.reset_peak_memory()


def peak_memory() -> int:
    """Bytes that MLX had allocated at most since the last reset."""
    import mlx.core as mx

    return int(mx.get_peak_memory())


def _check_version(requirements: Requirements) -> None:
    from packaging.specifiers import SpecifierSet

    package = requirements.package
    try:
        installed = metadata.version(package)
    except metadata.PackageNotFoundError as error:
        raise UnsupportedFeatureError(
            f"{package} is not installed, and models run on it. "
            "Install it with: pip install 'mlx-cards[mlx]'."
        ) from error
    if installed not in SpecifierSet(requirements.requires, prereleases=True):
        raise UnsupportedFeatureError(
            f"{package} {installed} is installed, and this family was checked with "
            f"{requirements.requires}. Install that: pip install '{package}{requirements.requires}'."
        )


def _first_line(error: Exception) -> str:
    text = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return text if len(text) <= 200 else f"{text[:200]}..."
