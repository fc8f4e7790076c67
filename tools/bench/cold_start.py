"""From a new process to the exact prompt and the image tokens: a card against a checkpoint's processor.

Upstream is given every advantage that can be had honestly: the checkpoint is on the disk already, its
vocabulary is tiny (a released one has 152,000 entries to read), no weights are touched, and the image
is a small one that is in memory already.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from tools.bench.timing import Finished, MeasurementError, Report, compare, measure

ROOT = Path(__file__).parents[2]
FAMILY = "qwen2.5-vl"
AIM = 8.0

OURS = """
import json
import loader, registry
card = registry.card("qwen2.5-vl")
parts = [{"type": "image"}, {"type": "text", "text": "What is in this picture?"}]
prompt = loader.render(card, [{"role": "user", "content": parts}])
plan = loader.plan_image(card, 640, 480)
print(json.dumps([prompt.text, plan.image_tokens]))
"""

# The same question to mlx-vlm, the way it prepares every call. The import of the model registers its
# processor; without a detokenizer, which is for generating, a processor loads faster.
UPSTREAM = """
import json, sys
import mlx_vlm.models.qwen2_5_vl
from mlx_vlm.prompt_utils import apply_chat_template
from mlx_vlm.utils import load_config, load_processor, prepare_inputs
from PIL import Image
config = load_config(sys.argv[1])
processor = load_processor(sys.argv[1], add_detokenizer=False, trust_remote_code=False)
prompt = apply_chat_template(processor, config, "What is in this picture?", num_images=1)
inputs = prepare_inputs(processor, images=[Image.new("RGB", (640, 480))], prompts=prompt)
print(json.dumps([prompt, inputs["input_ids"].flatten().tolist().count(processor.image_token_id)]))
"""


def run(pairs: int) -> Report:
    """Measure `pairs` of the two programs in turn, after one pair that is not counted."""
    with tempfile.TemporaryDirectory(prefix="mlx-cards-bench-") as scratch:
        checkpoint, environment = Path(scratch) / "checkpoint", _environment(scratch)
        # In a process of its own: building needs MLX, and the measuring process must stay small.
        build = [sys.executable, "-m", "tools.random_checkpoint", FAMILY, str(checkpoint)]
        measure(build, environment)
        ours = [sys.executable, "-c", OURS]
        theirs = [sys.executable, "-c", UPSTREAM, str(checkpoint)]
        measured = [(measure(ours, environment), measure(theirs, environment)) for _ in range(pairs + 1)]
    for pair in measured:
        _check(*pair)
    title = "the exact prompt and the tokens of a 640x480 image, from the start of a process to its end"
    return compare(title, ("mlx-cards", "mlx-vlm"), measured[1:], aim=AIM)


def _environment(scratch: str) -> dict[str, str]:
    """The caller's, without network, and with all bytecode compiled in the pair that is not counted.

    Otherwise it would depend on the machine's settings which of the two has to compile each time.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {
        "PYTHONPATH": str(ROOT),
        "PYTHONPYCACHEPREFIX": str(Path(scratch) / "bytecode"),
        "HF_HUB_OFFLINE": "1",
    }


def _check(ours: Finished, theirs: Finished) -> None:
    """Both did the same work. That prompts equal the released models' is for tests/golden to say:

    the template here is the random checkpoint's, with the released one's default system message.
    """
    if json.loads(ours.output) != json.loads(theirs.output):
        raise MeasurementError(
            "The two programs disagree, so their times mean nothing.\n"
            f"mlx-cards: {ours.output.strip()}\nmlx-vlm:   {theirs.output.strip()}"
        )
