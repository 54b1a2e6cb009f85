"""A dataset is replaced at once or not at all: killed at any instant, or by two tries at the same time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_capillary.datasets.dataset_files import FileFinder
from airflow_provider_capillary.datasets.storage import Folder
from airflow_provider_capillary.exceptions import ConfigurationError, DatasetError, RetryableError
from airflow_provider_capillary.transfers import publish as publishing
from airflow_provider_capillary.transfers.publish import check_target, publish

PARTS = 3


def made(folder: Path, content: str, parts: int = PARTS) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"part-{number:05d}-of-{parts:05d}.parquet" for number in range(parts)]
    for number, path in enumerate(paths):
        path.unlink(missing_ok=True)  # what was published before may be a link to it
        path.write_text(f"{content} {number}")
    return paths


def read(uri: Any) -> list[str]:
    return [Path(path).read_text() for path in FileFinder().files_at(str(uri)).uris]


def whole(content: str, parts: int = PARTS) -> list[str]:
    return [f"{content} {number}" for number in range(parts)]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*")}


def test_published_rows_are_read_in_order(tmp_path: Path) -> None:
    target = tmp_path / "out" / "20260101"
    uris = publish(made(tmp_path / "made", "new"), str(target), 7)
    assert [Path(uri).read_text() for uri in uris] == whole("new") == read(target)
    assert FileFinder().files_at(str(target)).rows == 7
    assert names(target) == {*(Path(uri).name for uri in uris), "_manifest.json"}


def test_same_parts_get_the_same_names(tmp_path: Path) -> None:
    first = publish(made(tmp_path / "made", "a"), str(tmp_path / "out"), 7)
    content = (tmp_path / "out" / "_manifest.json").read_bytes()
    assert publish(made(tmp_path / "made", "a"), str(tmp_path / "out"), 7) == first
    assert (tmp_path / "out" / "_manifest.json").read_bytes() == content
    changed = [*made(tmp_path / "made", "a")[:2], *made(tmp_path / "others", "b")[2:]]
    assert not set(publish(changed, str(tmp_path / "out"), 7)) & set(first)


def test_a_reader_never_gets_newer_parts(tmp_path: Path) -> None:
    earlier = publish(made(tmp_path / "made", "old"), str(tmp_path / "out"), 7)
    manifest = tmp_path / "out" / "_manifest.json"
    reported = manifest.read_text()
    with Path(earlier[0]).open() as reading, manifest.open() as open_manifest:
        publish(made(tmp_path / "made", "new"), str(tmp_path / "out"), 7)
        assert reading.read() == "old 0"
        assert open_manifest.read() == reported
    assert not any(Path(uri).exists() for uri in earlier)


KILLED_AT_EVERY_CALL = """
import json, os, signal, sys
from pathlib import Path
from airflow_provider_capillary.datasets.dataset_files import FileFinder
from airflow_provider_capillary.transfers.publish import publish

target, new, ends = Path(sys.argv[1]), [Path(path) for path in json.loads(sys.argv[2])], []
WATCHED = {"open", "os.link", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.scandir"}

def watch(deadly):
    calls = 0
    def hook(event, arguments):
        nonlocal calls
        if event in WATCHED and str(target) in str(arguments):
            calls += 1
            if calls == deadly:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)

killed = True
while killed:
    if not (child := os.fork()):
        watch(len(ends) + 1)
        publish(new, str(target), 7)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    killed = os.WIFSIGNALED(status)
    assert killed or status == 0
    try:
        ends.append([Path(path).read_text() for path in FileFinder().files_at(str(target)).uris])
    except Exception as error:
        ends.append(str(error))
    if sys.argv[3] == "begin anew":
        for path in target.glob("*") if target.exists() else ():
            path.unlink()
        for path, text in json.loads(sys.argv[4]).items():
            target.mkdir(exist_ok=True)
            Path(path).write_text(text)
print(json.dumps(ends))
"""


def killed_at_every_call(target: Path, new: list[Path], anew: bool) -> list[Any]:
    """What a reader finds after a kill at the first call to the operating system, at the second, and so on."""
    before = {str(path): path.read_text() for path in target.rglob("*")}
    arguments = [json.dumps([str(path) for path in new]), "begin anew" if anew else "go on", json.dumps(before)]
    command = [sys.executable, "-c", KILLED_AT_EVERY_CALL, str(target), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ends: list[Any] = json.loads(done.stdout)
    return ends


def test_a_kill_at_any_instant_leaves_a_whole_dataset(tmp_path: Path) -> None:
    publish(made(tmp_path / "made", "old"), str(tmp_path / "out"), 7)
    ends = killed_at_every_call(tmp_path / "out", made(tmp_path / "made", "new"), anew=True)
    assert len(ends) > 20
    turn = ends.index(whole("new"))
    assert 10 < turn < len(ends) - PARTS - 1
    assert ends == [whole("old")] * turn + [whole("new")] * (len(ends) - turn)


def test_repeated_kills_leave_a_whole_dataset(tmp_path: Path) -> None:
    publish(made(tmp_path / "made", "old"), str(tmp_path / "out"), 7)
    new = made(tmp_path / "made", "new")
    ends = killed_at_every_call(tmp_path / "out", new, anew=False)
    assert {tuple(end) for end in ends} == {tuple(whole("old")), tuple(whole("new"))}
    assert read(tmp_path / "out") == whole("new")
    assert len(names(tmp_path / "out")) == PARTS + 1


def test_a_killed_first_try_is_never_read(tmp_path: Path) -> None:
    ends = killed_at_every_call(tmp_path / "out", made(tmp_path / "made", "new"), anew=True)
    halves = [end for end in ends if end != whole("new")]
    assert halves
    assert all(isinstance(end, str) for end in halves if end)  # before the first part there is nothing at all
    assert sum("only partly written" in end for end in halves) >= PARTS
    assert halves.count([]) <= 2


class Watched:
    """A folder that calls ``meanwhile`` right before its n-th operation."""

    def __init__(self, folder: Folder, count: int, meanwhile: Callable[[], object]) -> None:
        self._folder = folder
        self.left = count
        self._meanwhile = meanwhile

    def _count(self) -> None:
        self.left -= 1
        if self.left == 0:
            self._meanwhile()

    def children(self) -> dict[str, bool] | None:
        self._count()
        return self._folder.children()

    def read(self, name: str) -> bytes:
        self._count()
        return self._folder.read(name)

    def put(self, source: Path, name: str) -> None:
        self._count()
        self._folder.put(source, name)

    def write(self, name: str, content: bytes) -> None:
        self._count()
        self._folder.write(name, content)

    def remove(self, names: Iterable[str]) -> None:
        self._count()
        self._folder.remove(names)


def watched(monkeypatch: pytest.MonkeyPatch, count: int, meanwhile: Callable[[], object]) -> list[Watched]:
    """The next publication, and only that, works in a watched folder."""
    made: list[Watched] = []

    def first(uri: str) -> Folder | Watched:
        if made:
            return Folder(uri)
        made.append(Watched(Folder(uri), count, meanwhile))
        return made[0]

    monkeypatch.setattr(publishing, "Folder", first)
    return made


@pytest.mark.parametrize("other", ["theirs", "ours", "old"])
def test_two_tries_at_once_leave_one_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    steps = 0
    while True:
        steps += 1
        target = tmp_path / str(steps)
        publish(made(tmp_path / "made", "old"), str(target), 7)
        second = partial(publish, made(tmp_path / "theirs", other), str(target), 7)
        folders = watched(monkeypatch, steps, second)
        publish(made(tmp_path / "ours", "ours"), str(target), 7)
        monkeypatch.undo()
        if folders[0].left > 0:
            break
        assert read(target) in (whole("ours"), whole(other)), steps
        publish(made(tmp_path / "made", "next"), str(target), 7)
        assert read(target) == whole("next")
        assert len(names(target)) == PARTS + 1
    assert steps > 2 * PARTS


def test_a_disturbed_try_gives_up_for_a_retry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Leaky(Folder):
        def put(self, source: Path, name: str) -> None:
            super().put(source, name)
            if name.startswith("part-00001"):
                self.remove([name])

    monkeypatch.setattr(publishing, "Folder", Leaky)
    with pytest.raises(RetryableError, match="another try"):
        publish(made(tmp_path / "made", "new"), str(tmp_path / "out"), 7)


def test_a_try_that_fails_takes_its_parts_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(made(tmp_path / "made", "old"), str(tmp_path / "out"), 7)
    before = names(tmp_path / "out")

    def fail() -> None:
        raise KeyboardInterrupt

    for step in range(1, PARTS + 2):
        watched(monkeypatch, step, fail)
        with pytest.raises(KeyboardInterrupt):
            publish(made(tmp_path / "made", "new"), str(tmp_path / "out"), 7)
        monkeypatch.undo()
        assert read(tmp_path / "out") == whole("old")
        assert names(tmp_path / "out") == before


def test_a_first_try_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    parts = made(tmp_path / "made", "new")
    parts[2].unlink()
    parts[2].mkdir()
    with pytest.raises(IsADirectoryError):
        publish(parts, str(tmp_path / "out"), 7)
    assert not (tmp_path / "out").exists()


def test_files_of_killed_tries_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    killed = f".part-00000-of-00001-{'a' * 16}.parquet.{'b' * 32}"
    for name in (f"part-00000-of-00001-{'a' * 16}.parquet", killed):
        (tmp_path / "out" / name).write_text("left over")
    publish(made(tmp_path / "made", "new"), str(tmp_path / "out"), 7)
    assert read(tmp_path / "out") == whole("new")
    assert len(names(tmp_path / "out")) == PARTS + 1


def test_a_folder_that_lost_a_part_is_refused(tmp_path: Path) -> None:
    uris = publish(made(tmp_path / "made", "new"), str(tmp_path / "out"), 7)
    Path(uris[1]).unlink()
    with pytest.raises(DatasetError, match=f"parts are gone .*'{Path(uris[1]).name}'"):
        read(tmp_path / "out")
    publish(made(tmp_path / "made", "new"), str(tmp_path / "out"), 7)
    assert read(tmp_path / "out") == whole("new")


def test_a_broken_manifest_is_refused_then_replaced(tmp_path: Path) -> None:
    publish(made(tmp_path / "made", "new"), str(tmp_path / "out"), 7)
    for broken in (b"", b"\xff", b"[]", b'{"parts": 3}'):
        (tmp_path / "out" / "_manifest.json").write_bytes(broken)
        with pytest.raises(DatasetError, match=r"_manifest\.json is broken"):
            read(tmp_path / "out")
    publish(made(tmp_path / "made", "new"), str(tmp_path / "out"), 7)
    assert read(tmp_path / "out") == whole("new")


@pytest.mark.parametrize("target", ["relative/folder", "out"])
def test_a_relative_target_is_refused(target: str) -> None:
    with pytest.raises(ConfigurationError, match="relative"):
        check_target(target)


def test_an_impossible_target_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises((ConfigurationError, DatasetError), match=r"file/out: not a file"):
        publish(made(tmp_path / "made", "new"), str(tmp_path / "file" / "out"), 7)
    assert (tmp_path / "file").read_text() == "precious"
