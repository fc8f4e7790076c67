"""The provider's names in AbstractLLM's registry."""

from __future__ import annotations

NAMES = ("mlx", "mlx-cards")
"""AbstractLLM refuses the first one on other machines than Apple's, and asks nothing about the second."""


def register() -> None:
    """Make `create_llm` and `create_session` build this provider for both names. Again is harmless."""
    from abstractllm.providers.registry import register_provider

    for name in NAMES:
        register_provider(name, "loader.abstractllm.provider", "MLXProvider")
