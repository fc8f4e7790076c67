"""Small checkpoints of real architectures with random weights, for tests that load and generate.

A released checkpoint is gigabytes behind a network; a mock never notices that the backend changed.
These folders go through the real `mlx_vlm.load` and generate on a CPU within seconds. Their image
processors keep the released limits, so an image takes exactly as many tokens as it does in the
released model; only widths, depths and the vocabulary are small.

    python -m tools.random_checkpoint qwen2-vl build/qwen2-vl
"""

from tools.random_checkpoint.builder import build
from tools.random_checkpoint.recipe import names

__all__ = ["build", "names"]
