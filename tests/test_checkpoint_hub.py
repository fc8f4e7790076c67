"""Checkpoints from a hub: what is fetched, what is kept in the cache, and what is said."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from loader.checkpoint import download
from tests.checkpoints import CODE, checkpoint_files, safetensors, said
from tests.fake_hub import FakeHub, point_client_at, serve

REPOSITORY = "someone/model-4bit"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with serve() as hub:
        point_client_at(hub.url, tmp_path / "home", monkeypatch)
        yield hub


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_a_download_is_pinned_to_the_commit_of_its_branch(hub: FakeHub, cache: Path) -> None:
    commit = hub.add(REPOSITORY, checkpoint_files())
    found = download(REPOSITORY, cache_dir=cache, progress=False)
    assert (found.repository, found.revision) == (REPOSITORY, commit)
    assert found.folder.name == commit
    assert found.folder.is_relative_to(cache)
    wanted = ["config.json", "model.safetensors", "tokenizer_config.json"]
    assert sorted(path.name for path in found.folder.iterdir()) == wanted
    assert all(commit in path for _, path, _ in hub.requests if "/resolve/" in path)


def test_an_older_commit_and_a_tag_can_be_asked_for(hub: FakeHub, cache: Path) -> None:
    old = hub.add(REPOSITORY, checkpoint_files(config__json=b'{"model_type": "old"}'))
    hub.add(REPOSITORY, checkpoint_files())
    tag = hub.add(REPOSITORY, checkpoint_files(config__json=b'{"model_type": "tagged"}'), "v1/a")
    found = download(REPOSITORY, revision=old, cache_dir=cache, progress=False)
    assert (found.revision, found.model_type) == (old, "old")
    found = download(REPOSITORY, revision="v1/a", cache_dir=cache, progress=False)
    assert (found.revision, found.model_type) == (tag, "tagged")


def test_a_branch_that_moves_after_it_was_resolved_does_not_matter(
    hub: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = hub.add(REPOSITORY, checkpoint_files())
    from huggingface_hub import HfApi, ModelInfo

    ask = HfApi.model_info

    def ask_then_push(*args: Any, **options: Any) -> ModelInfo:
        answer = ask(*args, **options)
        hub.add(REPOSITORY, {**checkpoint_files(), **CODE})
        return answer

    monkeypatch.setattr(HfApi, "model_info", ask_then_push)
    found = download(REPOSITORY, cache_dir=cache, progress=False)
    assert found.revision == first
    assert not list(found.folder.glob("*.py"))


def test_a_second_download_fetches_nothing(hub: FakeHub, cache: Path) -> None:
    hub.add(REPOSITORY, checkpoint_files())
    first = download(REPOSITORY, cache_dir=cache, progress=False)
    hub.requests.clear()
    assert download(REPOSITORY, cache_dir=cache, progress=False) == first
    assert hub.fetched() == []


def test_code_on_the_hub_is_refused_before_anything_is_fetched(hub: FakeHub, cache: Path) -> None:
    hub.add(REPOSITORY, {**checkpoint_files(), **CODE})
    message = said(lambda: download(REPOSITORY, cache_dir=cache, progress=False))
    assert REPOSITORY in message
    assert "modeling_x.py" in message
    assert hub.fetched("GET") == hub.fetched("HEAD") == []
    found = download(REPOSITORY, cache_dir=cache, progress=False, trust_remote_code=True)
    assert (found.folder / "modeling_x.py").read_bytes() == CODE["modeling_x.py"]
    # Trust is for one call: the copy in the cache is refused as well.
    message = said(lambda: download(REPOSITORY, cache_dir=cache, local_files_only=True))
    assert "modeling_x.py" in message
    assert "not complete" not in message


def test_a_repository_without_safetensors_is_refused_before_anything_is_fetched(
    hub: FakeHub, cache: Path
) -> None:
    files = checkpoint_files(model__safetensors=None, pytorch_model__bin=b"pickle")
    hub.add(REPOSITORY, {**files, "unet/x.safetensors": b""})
    message = said(lambda: download(REPOSITORY, cache_dir=cache, progress=False))
    assert "only pytorch_model.bin" in message
    assert hub.fetched("GET") == hub.fetched("HEAD") == []


@pytest.mark.parametrize(
    "name",
    [
        "model",
        "a/b/c",
        "../x",
        "a/..",
        "a/b.git",
        "a--b/c",
        "/a/b",
        "a/b\n",
        "a/-b",
        "a/b?c",
        "",
        "é/b",
    ],
)
def test_what_cannot_be_a_repository_never_reaches_the_network(hub: FakeHub, cache: Path, name: str) -> None:
    assert "not a repository" in said(lambda: download(name, cache_dir=cache))
    assert hub.requests == []


@pytest.mark.parametrize("revision", ["../../x", "/etc", "-x", "a b", "a\\b", ".x"])
def test_what_cannot_be_a_revision_never_reaches_the_network(
    hub: FakeHub, cache: Path, revision: str
) -> None:
    message = said(lambda: download(REPOSITORY, revision=revision, cache_dir=cache))
    assert "cannot be a revision" in message
    assert hub.requests == []


def test_an_unknown_repository_leads_to_the_name_and_the_login(hub: FakeHub, cache: Path) -> None:
    message = said(lambda: download(REPOSITORY, cache_dir=cache))
    assert "Check the name" in message
    assert "hf auth login" in message


def test_an_unknown_revision_is_named(hub: FakeHub, cache: Path) -> None:
    hub.add(REPOSITORY, checkpoint_files())
    assert "'v9'" in said(lambda: download(REPOSITORY, revision="v9", cache_dir=cache))


def test_a_gated_repository_leads_to_its_licence_and_the_login(hub: FakeHub, cache: Path) -> None:
    hub.add(REPOSITORY, checkpoint_files())
    hub.gated.add(REPOSITORY)
    message = said(lambda: download(REPOSITORY, cache_dir=cache, progress=False))
    assert f"licence. Accept it on {hub.url}/{REPOSITORY}" in message
    assert "hf auth login" in message


@pytest.mark.parametrize("status", [400, 403, 429])
def test_a_refusal_of_the_hub_is_told_with_its_status(hub: FakeHub, cache: Path, status: int) -> None:
    hub.add(REPOSITORY, checkpoint_files())
    hub.info_status = status
    assert f"HTTP {status}" in said(lambda: download(REPOSITORY, cache_dir=cache))


def test_a_hub_that_fails_after_the_listing_is_told_with_its_status(hub: FakeHub, cache: Path) -> None:
    hub.add(REPOSITORY, checkpoint_files())
    hub.file_status = 404
    assert "HTTP 404" in said(lambda: download(REPOSITORY, cache_dir=cache, progress=False))


@pytest.mark.parametrize(
    "body",
    [
        b"<html>log in to this Wi-Fi</html>",
        b"{}",
        b'{"id": "a/b"}',
        b'{"id": "a/b", "sha": "main", "siblings": [{"rfilename": "model.safetensors"}]}',
    ],
)
def test_an_answer_that_is_not_the_hubs_is_an_error(hub: FakeHub, cache: Path, body: bytes) -> None:
    hub.info_body = body
    assert "HF_ENDPOINT" in said(lambda: download(REPOSITORY, cache_dir=cache))


def test_a_full_disk_is_called_that(hub: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    hub.add(REPOSITORY, checkpoint_files())
    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    message = said(lambda: download(REPOSITORY, cache_dir=cache, progress=False))
    assert "disk is full" in message


def test_a_cache_that_cannot_be_made_is_an_error_with_its_reason(hub: FakeHub, cache: Path) -> None:
    hub.add(REPOSITORY, checkpoint_files())
    cache.touch()  # a file where the folder should be
    assert "cache folder" in said(lambda: download(REPOSITORY, cache_dir=cache, progress=False))


# ---- downloads that break


MEGABYTE = 1024 * 1024
BIG = safetensors({"weight": b"0123456789abcdef" * (24 * MEGABYTE // 16)})
"""The client writes in pieces of 10 MB: only of a larger file is half ever on the disk."""


def test_a_download_cut_half_way_leaves_nothing_that_looks_complete(hub: FakeHub, cache: Path) -> None:
    commit = hub.add(REPOSITORY, checkpoint_files(model__safetensors=BIG))
    hub.cut.add("model.safetensors")
    assert "HTTP 503" in said(lambda: download(REPOSITORY, cache_dir=cache, progress=False))
    assert hub.fetched().count("model.safetensors") == 2  # half of it, then a refusal
    assert not list(cache.rglob("model.safetensors"))
    assert all(path.stat().st_size < MEGABYTE for path in cache.rglob("*") if path.is_file())
    for revision in ("main", commit):
        again = partial(download, REPOSITORY, revision=revision, cache_dir=cache)
        message = said(partial(again, local_files_only=True))
        assert "not (or not completely) in the cache" in message

    hub.cut.clear()
    found = download(REPOSITORY, cache_dir=cache, progress=False)
    assert (found.folder / "model.safetensors").read_bytes() == BIG


def test_a_connection_that_drops_once_is_taken_up_where_it_dropped(hub: FakeHub, cache: Path) -> None:
    hub.add(REPOSITORY, checkpoint_files(model__safetensors=BIG))
    hub.cut_once.add("model.safetensors")
    found = download(REPOSITORY, cache_dir=cache, progress=False)
    assert (found.folder / "model.safetensors").read_bytes() == BIG
    assert f"bytes={10 * MEGABYTE}-" in [part for _, _, part in hub.requests]


def test_a_connection_that_stays_broken_is_an_error_of_the_connection(
    hub: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    hub.add(REPOSITORY, checkpoint_files())
    hub.cut_always.add("model.safetensors")
    message = said(lambda: download(REPOSITORY, cache_dir=cache, progress=False))
    assert "The connection to the hub broke" in message
    assert not list(cache.rglob("model.safetensors"))


def test_a_damaged_file_in_the_cache_is_named_so_that_deleting_it_helps(hub: FakeHub, cache: Path) -> None:
    hub.add(REPOSITORY, checkpoint_files())
    found = download(REPOSITORY, cache_dir=cache, progress=False)
    blob = (found.folder / "model.safetensors").resolve()
    os.truncate(blob, 1000)
    message = said(lambda: download(REPOSITORY, cache_dir=cache, progress=False))
    assert f"Delete {blob} and" in message
    blob.unlink()
    assert download(REPOSITORY, cache_dir=cache, progress=False) == found


# ---- without a network


Cut = Callable[[], None]


@pytest.fixture(params=["stopped", "offline", "down", "silent"])
def cut_off(
    request: pytest.FixtureRequest, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Cut:
    """Ways to lose the hub: nobody listens, HF_HUB_OFFLINE, an error of its own, no answer."""

    def cut() -> None:
        if request.param == "stopped":
            with serve() as gone:
                pass
            point_client_at(gone.url, tmp_path / "home", monkeypatch)
        elif request.param == "offline":
            monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        elif request.param == "silent":
            monkeypatch.setattr("huggingface_hub.constants.HF_HUB_ETAG_TIMEOUT", 0.1)
            hub.info_delay = 0.5
        else:
            hub.info_status = 503

    return cut


def test_without_the_hub_the_cache_is_used(hub: FakeHub, cache: Path, cut_off: Cut) -> None:
    commit = hub.add(REPOSITORY, checkpoint_files())
    hub.add(REPOSITORY, checkpoint_files(), "refs/pr/1")
    first = download(REPOSITORY, cache_dir=cache, progress=False)
    request = download(REPOSITORY, revision="refs/pr/1", cache_dir=cache, progress=False)
    cut_off()
    assert download(REPOSITORY, cache_dir=cache) == first
    assert download(REPOSITORY, revision=commit, cache_dir=cache) == first
    assert download(REPOSITORY, revision="refs/pr/1", cache_dir=cache) == request


def test_without_the_hub_and_without_a_copy_both_are_said(hub: FakeHub, cache: Path, cut_off: Cut) -> None:
    cut_off()
    message = said(lambda: download(REPOSITORY, cache_dir=cache))
    assert "in the cache" in message
    assert "not reachable" in message


def test_local_files_only_does_not_touch_the_network(hub: FakeHub, cache: Path) -> None:
    hub.add(REPOSITORY, checkpoint_files())
    first = download(REPOSITORY, cache_dir=cache, progress=False)
    hub.requests.clear()
    assert download(REPOSITORY, cache_dir=cache, local_files_only=True) == first
    message = said(lambda: download("some/other", cache_dir=cache, local_files_only=True))
    assert "local_files_only" in message
    assert hub.requests == []


def test_a_copy_of_only_some_files_is_not_taken_for_the_whole(hub: FakeHub, cache: Path) -> None:
    from huggingface_hub import hf_hub_download

    hub.add(REPOSITORY, checkpoint_files())
    hf_hub_download(REPOSITORY, "config.json", cache_dir=cache)  # another program's doing
    message = said(lambda: download(REPOSITORY, cache_dir=cache, local_files_only=True))
    assert "not complete in the cache" in message
    assert "no *.safetensors weights" in message


def test_a_failed_update_leaves_the_complete_older_copy_in_use(hub: FakeHub, cache: Path) -> None:
    hub.add(REPOSITORY, checkpoint_files())
    first = download(REPOSITORY, cache_dir=cache, progress=False)
    hub.add(REPOSITORY, checkpoint_files(model__safetensors=safetensors({"new": b"0" * 99})))
    hub.cut.add("model.safetensors")
    said(lambda: download(REPOSITORY, cache_dir=cache, progress=False))
    assert download(REPOSITORY, cache_dir=cache, local_files_only=True) == first


def test_the_environment_alone_directs_a_new_process(hub: FakeHub, cache: Path) -> None:
    hub.add(REPOSITORY, checkpoint_files())
    program = (
        "import sys; from pathlib import Path; from loader.checkpoint import download\n"
        "assert 'huggingface_hub' not in sys.modules\n"
        f"print(download({REPOSITORY!r}, cache_dir=Path(sys.argv[1]), progress=False).revision)"
    )

    def run(**environment: str) -> str:
        outcome = subprocess.run(  # noqa: S603
            [sys.executable, "-c", program, str(cache)],
            env={
                "HF_HOME": str(cache / "home"),
                "PYTHONPATH": os.pathsep.join(sys.path),
                **environment,
            },
            capture_output=True,
            text=True,
            check=True,
        )
        assert outcome.stderr == ""
        return outcome.stdout.strip()

    commit = run(HF_ENDPOINT=hub.url)
    assert commit == hub.repositories[REPOSITORY].names["main"]
    assert run(HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="1") == commit


# ---- progress


@pytest.mark.parametrize("progress", [True, False])
def test_the_progress_bar_is_on_stderr_only_when_it_is_wanted(
    hub: FakeHub,
    cache: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    progress: bool,
) -> None:
    monkeypatch.setenv("TQDM_POSITION", "-1")  # a bar although stderr is no terminal here
    hub.add(REPOSITORY, checkpoint_files())
    download(REPOSITORY, cache_dir=cache, progress=progress)
    output = capfd.readouterr()
    assert output.out == ""
    assert ("100%" in output.err) is progress
    assert bool(output.err) is progress
