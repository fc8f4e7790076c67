"""What callers configure: AbstractLLM's parameters, under either of their names, and this project's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from abstractllm.enums import ModelParameter
from abstractllm.exceptions import InvalidParameterError, UnsupportedFeatureError
from abstractllm.utils.config import ConfigurationManager

from loader.abstractllm.failures import PROVIDER
from loader.abstractllm.media import listed
from loader.sampling import Sampling

DEFAULTS: dict[str, Any] = {"temperature": 0.7, "top_p": 0.9}
"""Those of the provider that this one replaces (abstractllm 1.1.1, providers/mlx_provider.py)."""
MAX_TOKENS = 4096
"""The same, but never more than the model's context leaves."""
DETAILS = {"low": "low", "auto": "auto", "medium": "auto", "high": "full", "full": "full"}
"""AbstractLLM's levels of detail, and what they are here."""
LOADING = (
    "card",
    "revision",
    "cache_dir",
    "local_files_only",
    "trust_remote_code",
    "strict",
    "prompt",
    "memory_limit",
    "check_memory",
)
"""Options of `registry.load` that may stand in the configuration."""
ASKING = (
    "max_image_tokens",
    "max_image_pixels",
    "exact",
    "on_forgery",
    "allow_private_urls",
    "continue_final_message",
    "on_exceed",
)
"""Options of a call that may stand in the configuration, too."""
OF_CARDS = (
    "max_image_tokens",
    "max_image_pixels",
    "exact",
    "allow_private_urls",
    "on_exceed",
    "memory_limit",
    "check_memory",
)
"""Those that mean nothing to a model of text."""
_SERVICE = (
    "api_key",
    "base_url",
    "organization",
    "user",
    "proxy",
    "timeout",
    "request_timeout",
    "retry_count",
    "max_retries",
    "device",
    "device_map",
    "logging_enabled",
)
"""AbstractLLM's parameters about a service or a device: here is none to choose."""
_SAMPLING = ("temperature", "top_p", "top_k", "repetition_penalty", "seed")
_REFUSED = ("frequency_penalty", "presence_penalty", "logit_bias", "stop")
_QUANTIZED = {"load_in_4bit": "4bit", "load_in_8bit": "8bit"}
_PARAMETERS = {parameter.value: parameter for parameter in ModelParameter}


class Settings(ConfigurationManager):  # type: ignore[misc]
    """One value for a parameter, whether it is called ModelParameter.X or "x".

    AbstractLLM keeps the two apart, so that a value set under one name does not change the other's.
    """

    def get_param(self, param: str | ModelParameter, default: Any = None) -> Any:
        """The value of a parameter, `default` where none was set."""
        value = self._config.get(_key(param))
        return default if value is None else value

    def update_config(self, updates: Mapping[str | ModelParameter, Any]) -> None:
        """Set parameters."""
        self._config.update({_key(name): value for name, value in updates.items()})


def _key(name: str | ModelParameter) -> str | ModelParameter:
    return name if isinstance(name, ModelParameter) else _PARAMETERS.get(name, name)


def plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a call by their plain names, without those that say nothing.

    Raises AbstractLLM's UnsupportedFeatureError for those that say what is loaded.
    """
    named = {name.value if isinstance(name, ModelParameter) else name: v for name, v in options.items()}
    loading = {*LOADING, "quantize", *_QUANTIZED} - {*OF_CARDS}
    for name in loading & named.keys():
        if named[name] is not None:
            raise UnsupportedFeatureError(
                name,
                f"{name} says what is loaded, so a single call cannot have another. "
                f"Give it to create_llm, or to set_config({name}=...).",
                PROVIDER,
            )
    return {name: value for name, value in named.items() if value is not None and name not in _SERVICE}


def quantization(settings: Settings) -> str:
    """What `quantize` asks for, as `registry.load` takes it: 6, "6bit" and "bf16" are some; else "auto"."""
    asked = settings.get_param("quantize")
    if asked is None:
        return next((name for flag, name in _QUANTIZED.items() if settings.get_param(flag)), "auto")
    if isinstance(asked, int) and not isinstance(asked, bool):
        return f"{asked}bit"
    if isinstance(asked, str):
        return f"{asked}bit" if asked.isdigit() else asked
    raise InvalidParameterError(
        "quantize", asked, f"quantize={asked!r} names no quantization. Write 4, 6, 8 or 'bf16'.", PROVIDER
    )


def sampling(settings: Settings, options: dict[str, Any], max_tokens: int) -> Sampling:
    """How tokens are chosen in one call; takes what it knows out of `options`.

    Raises AbstractLLM's UnsupportedFeatureError for penalties that the backend does not have.
    """
    for name in _REFUSED:
        value = options.pop(name, None) or settings.get_param(name)
        if value:
            raise UnsupportedFeatureError(
                name, f"{name}={value!r} is not supported. Leave it out, or use repetition_penalty.", PROVIDER
            )
    chosen = {}
    for name in _SAMPLING:
        value = options.pop(name, None)
        chosen[name] = settings.get_param(name, DEFAULTS.get(name)) if value is None else value
    return Sampling(max_tokens, **{name: value for name, value in chosen.items() if value is not None})


def detail(settings: Settings, options: dict[str, Any], of_images: str | None) -> str:
    """The level of detail of one call: its own, that of its images, the configured one."""
    asked = options.pop("detail", None) or options.pop("image_detail", None) or of_images
    options.pop("image_detail", None)
    asked = asked or settings.get_param("detail") or settings.get_param(ModelParameter.IMAGE_DETAIL, "auto")
    if asked not in DETAILS:
        raise InvalidParameterError(
            "image_detail", asked, f"image_detail={asked!r} is not known. Use low, auto or high.", PROVIDER
        )
    return DETAILS[asked]


def max_tokens(settings: Settings, options: dict[str, Any]) -> int | None:
    """The length that a caller allows an answer; None: what the model's context leaves, up to MAX_TOKENS."""
    own = [options.pop(name, None) for name in ("max_tokens", "max_output_tokens")]
    configured = (settings.get_param("max_tokens"), settings.get_param("max_output_tokens"))
    return next((number for number in (*own, *configured) if number is not None), None)


def shortened(chosen: Sampling, left: int) -> Sampling:
    """The same, for an answer of at most `left` tokens."""
    return replace(chosen, max_tokens=min(chosen.max_tokens, left))


def images(settings: Settings, options: dict[str, Any]) -> list[Any]:
    """Images that a call, or the configuration, names by AbstractLLM's parameters `image` and `images`."""
    return [image for name in ("image", "images") for image in listed(of_call(settings, options, name))]


def of_call(settings: Settings, options: dict[str, Any], name: str) -> Any:
    """A parameter of one call, taken out of `options`: its own, or the configured one."""
    value = options.pop(name, None)
    return settings.get_param(name) if value is None else value
