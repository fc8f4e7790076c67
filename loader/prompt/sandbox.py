"""Renders Jinja templates that strangers wrote, with limits that hold whatever the template does.

A process of its own, because no limit inside one holds against every template: it is ended when a
rendering takes too long, and its memory is bounded. It is started with the first rendering (about a
tenth of a second) and kept; jinja2 is imported there and nowhere else.
"""

from __future__ import annotations

import atexit
import contextlib
import datetime
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

SECONDS = 5.0
"""Wall time for one request, the start of the process included."""
_WORKER = Path(__file__).with_name("sandbox_worker.py")


class TemplateError(Exception):
    """A template that did not render.

    refused: the template itself says no to the conversation; stopped: it met a limit of the sandbox;
    broken: anything else.
    """

    def __init__(self, kind: Literal["refused", "stopped", "broken"], reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class Sandbox:
    """One process that renders; safe to use from several threads, one rendering at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        """The pipes belong to the parent, and one of its threads may hold the lock."""
        self._lock, self._process = threading.Lock(), None

    def render(
        self, source: str, contexts: Sequence[dict[str, Any]], now: datetime.datetime | None = None
    ) -> list[str | TemplateError]:
        """What `source` makes of each of the contexts, which are plain data.

        Raises TemplateError (stopped) where it takes longer than SECONDS for all of them.
        """
        moment = (now or datetime.datetime.now()).isoformat()  # the reader's own day is meant
        request = json.dumps({"source": source, "contexts": list(contexts), "now": moment})
        with self._lock:
            deadline = time.monotonic() + SECONDS
            try:
                answer = self._exchange(request.encode() + b"\n", deadline)
            except BaseException as error:  # an interrupt, too: its answer must not be read as the next one
                self.close()
                if isinstance(error, (OSError, TimeoutError)):
                    raise TemplateError("stopped", str(error)) from error
                raise
        return [
            result["text"] if "kind" not in result else TemplateError(result["kind"], result["text"])
            for result in json.loads(answer)
        ]

    def _exchange(self, request: bytes, deadline: float) -> bytes:
        process = self._running()
        assert process.stdin is not None  # noqa: S101  # both are pipes
        assert process.stdout is not None  # noqa: S101
        process.stdin.write(request)
        process.stdin.flush()
        answer = bytearray()
        with selectors.DefaultSelector() as ready:  # select.select takes no file descriptors above 1023
            ready.register(process.stdout, selectors.EVENT_READ)
            while not answer.endswith(b"\n"):
                if not ready.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError(f"it took longer than {SECONDS:.0f} seconds")
                piece = os.read(process.stdout.fileno(), 1 << 16)
                if not piece:
                    raise OSError("it used up the memory that it was given")
                answer += piece
        return bytes(answer)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(  # noqa: S603  # our own file, our own interpreter
                [sys.executable, "-P", str(_WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        return self._process

    def close(self) -> None:
        """End the process; the next rendering starts another."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with contextlib.suppress(OSError):
                process.communicate()


SANDBOX = Sandbox()
"""The one that everybody uses."""
atexit.register(SANDBOX.close)
