"""AbstractLLM's MLX provider, with the registry and the loader inside.

    import loader.abstractllm  # registers it
    from abstractllm import create_llm

    llm = create_llm("mlx", model="qwen2.5-vl-32b")  # on a Mac; "mlx-cards" anywhere
    llm.generate("What is this?", files=["photo.jpg"]).content

It takes the place of that package's own provider, which guesses from a model's name whether it sees.
"""

from loader.abstractllm.provider import MLXProvider
from loader.abstractllm.registration import register

__all__ = ["MLXProvider", "register"]

register()  # so that one import is all that it takes
