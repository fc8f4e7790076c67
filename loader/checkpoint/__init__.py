"""Get a checkpoint from a folder or from the hub, and check it before MLX maps it.

Nothing here runs code of a checkpoint or reads weights: only names, JSON and safetensors headers.
"""

from loader.checkpoint.disk import Checkpoint, local
from loader.checkpoint.hub import download

__all__ = ["Checkpoint", "download", "local"]
