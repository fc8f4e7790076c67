"""A small tokenizer, trained on `corpus.txt`, that still represents every UTF-8 text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.random_checkpoint.recipe import TokenizerRecipe

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from tokenizers.decoders import Decoder
    from tokenizers.normalizers import Normalizer
    from tokenizers.trainers import Trainer

__all__ = ["Vocabulary", "write"]

_CORPUS = Path(__file__).parent / "corpus.txt"
_PIECES = 384  # alphabet and merges together: common words stay whole, embeddings stay small
_BYTES = tuple(f"<0x{value:02X}>" for value in range(256))


@dataclass(frozen=True)
class Vocabulary:
    """Ids of the special tokens, and how many entries there are in all."""

    tokens: dict[str, int]
    size: int


def write(recipe: TokenizerRecipe, folder: Path) -> Vocabulary:
    """Train, then write `tokenizer.json` and `tokenizer_config.json` into `folder`."""
    trained = _train(recipe)
    trained.save(str(folder / "tokenizer.json"))
    text = json.dumps(_settings(recipe), indent=2, ensure_ascii=False) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")
    ids = trained.get_vocab()
    return Vocabulary(tokens={token: ids[token] for token in recipe.specials}, size=len(ids))


def _train(recipe: TokenizerRecipe) -> Tokenizer:
    from tokenizers.processors import TemplateProcessing

    trained = _bytelevel(recipe) if recipe.style == "bytelevel" else _metaspace(recipe)
    bos = recipe.bos
    if bos is not None and recipe.add_bos:
        trained.post_processor = TemplateProcessing(
            single=f"{bos} $A",
            pair=f"{bos} $A {bos} $B",
            special_tokens=[(bos, trained.get_vocab()[bos])],
        )
    return trained


def _bytelevel(recipe: TokenizerRecipe) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    untrained = Tokenizer(models.BPE())
    untrained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    untrained.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_PIECES + len(recipe.specials),
        special_tokens=list(recipe.specials),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    return _fit(untrained, trainer)


def _metaspace(recipe: TokenizerRecipe) -> Tokenizer:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    untrained = Tokenizer(models.BPE(byte_fallback=True, unk_token=recipe.unk, fuse_unk=True))
    untrained.normalizer = _metaspace_normalizer(recipe)
    untrained.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    untrained.decoder = _metaspace_decoder(recipe)
    trainer = trainers.BpeTrainer(
        vocab_size=_PIECES + len(recipe.specials) + len(_BYTES),
        special_tokens=[*recipe.specials, *_BYTES],
        show_progress=False,
    )
    return _demote_bytes(_fit(untrained, trainer))


def _metaspace_normalizer(recipe: TokenizerRecipe) -> Normalizer:
    from tokenizers import normalizers

    spaces = normalizers.Replace(" ", "▁")
    if recipe.prefix_space:
        return normalizers.Sequence([normalizers.Prepend("▁"), spaces])
    return spaces


def _metaspace_decoder(recipe: TokenizerRecipe) -> Decoder:
    from tokenizers import decoders

    # Fused before the strip, which would otherwise take a space from every token.
    steps: list[Decoder] = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if recipe.prefix_space:
        steps.append(decoders.Strip(" ", 1, 0))
    return decoders.Sequence(steps)


def _fit(untrained: Tokenizer, trainer: Trainer) -> Tokenizer:
    untrained.train_from_iterator(_CORPUS.read_text(encoding="utf-8").splitlines(), trainer)
    return untrained


def _demote_bytes(trained: Tokenizer) -> Tokenizer:
    """Make the byte tokens ordinary ones.

    The trainer takes extra entries only as special tokens, and special tokens are dropped by
    `decode(skip_special_tokens=True)`: every character outside the corpus would vanish.
    """
    from tokenizers import Tokenizer

    state = json.loads(trained.to_str())
    state["added_tokens"] = [entry for entry in state["added_tokens"] if entry["content"] not in _BYTES]
    return Tokenizer.from_str(json.dumps(state))


def _settings(recipe: TokenizerRecipe) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 131072,
        "clean_up_tokenization_spaces": False,
        # Either a map of attribute names or a plain list: transformers 5 reads one key for both.
        "extra_special_tokens": recipe.named or list(recipe.specials),
    }
    roles = {"bos": recipe.bos, "eos": recipe.eos, "pad": recipe.pad, "unk": recipe.unk}
    return settings | {f"{role}_token": token for role, token in roles.items() if token is not None}
