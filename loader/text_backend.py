"""mlx-lm behind the surface of loader.backend: models that read and write text only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loader.backend import Inputs, Piece, encoder_of, first_line
from loader.errors import CheckpointError, UnsupportedFeatureError
from loader.sampling import Sampling

if TYPE_CHECKING:
    from loader.prompt import Prompt


class TextBackend:
    """A language model and its tokenizer, loaded."""

    def __init__(self, folder: Path, *, trust_remote_code: bool = False) -> None:
        """Raises UnsupportedFeatureError without mlx-lm, CheckpointError for what it cannot load."""
        try:
            from mlx_lm import load
        except ModuleNotFoundError as error:
            if error.name != "mlx_lm":
                raise
            raise UnsupportedFeatureError(
                "mlx-lm is not installed, and models of text run on it. "
                "Install it with: pip install 'mlx-cards[abstractllm]'."
            ) from error
        try:
            self._model, self._tokenizer, *_ = load(str(folder), trust_remote_code=trust_remote_code)
        except Exception as error:  # from KeyError to RuntimeError
            raise CheckpointError(
                f"mlx-lm cannot load {folder.name}: {first_line(error)}. "
                "Check that the download is complete and that mlx-lm has this architecture."
            ) from error
        self._encoder = encoder_of(self._tokenizer)

    def can_encode(self) -> bool:
        """Whether typed control tokens can be kept apart: with a fast tokenizer."""
        return self._encoder is not None

    def control_tokens(self, prompt: Prompt) -> frozenset[str]:
        """Tokens of the checkpoint's tokenizer that steer the model, those of the prompt's own included."""
        if self._encoder is not None:
            return self._encoder.control(prompt)
        return frozenset(self._tokenizer.all_special_tokens)

    def prepare(self, prompt: Prompt, *, as_string: bool = False) -> Inputs:
        """A prompt as token ids; `as_string`: typed control tokens act as such."""
        if self._encoder is None or as_string:
            bos = self._tokenizer.bos_token
            own_start = bool(bos) and prompt.text.startswith(bos)
            ids = self._tokenizer.encode(prompt.text, add_special_tokens=not own_start)
        else:
            ids = self._encoder.encode(prompt)
        return Inputs({"input_ids": list(ids)}, len(ids), 0)

    def generate(self, inputs: Inputs, sampling: Sampling) -> Iterator[Piece]:
        """Generate until the model stops or `sampling.max_tokens` are reached."""
        import mlx.core as mx
        from mlx_lm import stream_generate
        from mlx_lm.sample_utils import make_logits_processors, make_sampler

        if sampling.seed is not None:
            mx.random.seed(sampling.seed)
        steps: Any = stream_generate(
            self._model,
            self._tokenizer,
            inputs.tensors["input_ids"],
            max_tokens=sampling.max_tokens,
            sampler=make_sampler(sampling.temperature, sampling.top_p, top_k=sampling.top_k),
            logits_processors=make_logits_processors(repetition_penalty=sampling.repetition_penalty),
        )
        try:
            for step in steps:
                yield Piece(step.text, step.generation_tokens, step.finish_reason)
        except Exception as error:
            raise CheckpointError(
                f"mlx-lm failed while answering: {first_line(error)}. "
                "Check the sampling options, and that the checkpoint is complete."
            ) from error
        finally:
            steps.close()
