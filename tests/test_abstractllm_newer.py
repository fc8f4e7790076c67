"""AbstractLLM 1.1.5, which imports on Python 3.12 and newer only: the same tests, in such an interpreter."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.packages import packages

TESTS = ("", "_files", "_sessions", "_async", "_errors", "_tools")
NEEDED = """
    jinja2 markupsafe pyyaml pygments annotated-types anyio certifi charset-normalizer click filelock fsspec
    h11 httpcore2 httpx2 huggingface-hub idna iniconfig mlx mlx-vlm numpy packaging pillow pluggy pydantic
    pydantic-core pytest regex requests safetensors sentencepiece tokenizers tqdm transformers truststore
    typing-inspection typing-extensions urllib3
"""
"""What is imported on the way, of all that mlx-vlm asks for."""


def interpreter() -> str | None:
    """Python 3.12 on this machine; pyenv has it in a folder, and a name on the path that may lead nowhere."""
    pyenv = sorted(Path("~/.pyenv/versions").expanduser().glob("3.12.*/bin/python"))
    for found in (*map(str, pyenv), shutil.which("python3.12")):
        if found and subprocess.run([found, "-V"], capture_output=True, check=False).returncode == 0:  # noqa: S603
            return found
    return None


def pinned() -> list[str]:
    """Those packages in the versions of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {line.partition("==")[0].lower().replace("_", "-"): line for line in lines if ";" not in line}
    backend = "mlx-metal" if platform.system() == "Darwin" else "mlx-cpu"
    version = pins["mlx"].partition("==")[2]
    return ["abstractllm==1.1.5", f"{backend}=={version}", *(pins[name] for name in NEEDED.split())]


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="the other tests run with AbstractLLM 1.1.5 here")
def test_the_provider_works_with_the_newest_release(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    python = interpreter()
    if python is None:
        pytest.skip("There is no Python 3.12 on this machine.")
    site = packages(pytestconfig, *pinned(), python="3.12")
    env = {**os.environ, "PYTHONPATH": str(site), "HOME": str(tmp_path)}
    tests = [f"tests/test_abstractllm{name}.py" for name in TESTS]
    command = [python, "-m", "pytest", *tests, "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
