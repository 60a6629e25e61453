"""Two files that change at once: every step at which a save can stop, and what the next one makes of it."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import pytest

from pymer4.errors import FileError, MissingFileError, OptionError
from pymer4.storage import pair


def save(path: Path, text: str, robj: bytes | None) -> None:
    pair.exchange(path, text.encode(), robj)


def text_of(path: Path) -> str:
    return path.read_bytes().split(pair._SEAL)[0].decode()


def load(path: Path) -> tuple[str, bytes | None]:
    """Return what a pair holds, as `load_model` reads it."""
    wanted = pair.named(path.read_bytes())
    robj = pair.robj_of(path, wanted)
    if robj is None:
        raise pair.no_robj(path, wanted)
    pair.settle(path)
    return text_of(path), robj or None


def files(path: Path) -> set[str]:
    return {file.name for file in path.parent.iterdir()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "run.v2").mkdir()
    return tmp_path / "run.v2" / "x.y.h5"


# ------------------------------------------------------------------ links that others left


@pytest.mark.skipif(os.name != "posix", reason="links need rights on this system")
@pytest.mark.parametrize("name", ["x.y.h5.new", "x.y.robj.new"])
@pytest.mark.parametrize("there", [False, True])
def test_a_link_at_a_temporary_name_is_not_followed(path, tmp_path, name, there):
    target = tmp_path / "of another user"
    target.write_bytes(b"precious")
    if there:
        save(path, "before", b"1")
    (path.parent / name).symlink_to(target)
    save(path, "after", b"2")
    assert load(path) == ("after", b"2")
    assert target.read_bytes() == b"precious"
    assert files(path) == {"x.y.h5", "x.y.robj"} and not any(file.is_symlink() for file in path.parent.iterdir())


# ------------------------------------------------------------------ names


@pytest.mark.parametrize(
    "name, expected",
    [("x.h5", "x.robj"), ("x.hdf5", "x.robj"), ("x.v1.h5", "x.v1.robj"), ("./run.v2/a.b.c.h5", "run.v2/a.b.c.robj"),
     ("x.H5", "x.robj"), (".x.h5", ".x.robj"), ("ä b.h5", "ä b.robj"), ("x.robj.h5", "x.robj.robj")],
)  # fmt: skip
@pytest.mark.parametrize("kind", [str, Path, os.fsencode])
def test_the_last_suffix_is_replaced(name, expected, kind):
    checked = pair.checked_path(kind(name))
    assert pair.partner(checked) == Path(expected)
    assert pair.partner(checked, ".new") == Path(expected + ".new")


@pytest.mark.parametrize(
    "name", ["x", "x.rds", "x.robj", "x.h5.gz", "x.h5.new", "", ".h5", "x/", "h5", 3, None, ["x.h5"]]
)
def test_other_names_are_refused(name):
    with pytest.raises(OptionError, match=r"\.h5|str or a Path"):
        pair.checked_path(name)


# ------------------------------------------------------------------ the straight way


@pytest.mark.parametrize("robj", [b"", b"one"])
def test_a_seal_names_the_robj_and_tells_a_changed_bit(robj):
    sealed = pair.sealed(b"content", robj)
    assert pair.named(sealed) == pair.signature(robj) and pair.named(b"content") is None
    for place in (0, 5, len(sealed) - 100, len(sealed) - 40, len(sealed) - 1):
        changed = bytearray(sealed)
        changed[place] ^= 1
        if pair._SEAL in changed:
            with pytest.raises(ValueError, match="check sum"):
                pair.named(bytes(changed))


@pytest.mark.parametrize("first, second", list(product([b"one", None], [b"two", None])))
def test_a_pair_takes_the_place_of_another(path, first, second):
    save(path, "first", first)
    assert load(path) == ("first", first)
    save(path, "second", second)
    assert load(path) == ("second", second)
    assert files(path) == {"x.y.h5", *(["x.y.robj"] if second else [])}


def test_an_robj_that_belongs_to_nothing_is_not_overwritten(path):
    pair.partner(path).write_bytes(b"a user's own")
    with pytest.raises(FileError, match=r"x\.y\.robj, which no x\.y\.h5 belongs to\. Move that file away"):
        save(path, "a", b"one")
    assert files(path) == {"x.y.robj"} and pair.partner(path).read_bytes() == b"a user's own"
    save(path, "b", None)
    assert load(path) == ("b", None) and pair.partner(path).read_bytes() == b"a user's own"


def test_an_robj_that_another_h5_named_stays_beside_a_model_without(path):
    save(path, "a", b"one")
    pair.partner(path).write_bytes(b"another")
    save(path, "b", None)
    assert pair.partner(path).read_bytes() == b"another"


def test_a_damaged_h5_can_be_saved_over(path):
    path.write_bytes(b"damaged")
    pair.partner(path).write_bytes(b"whatever")
    save(path, "a", b"one")
    assert load(path) == ("a", b"one") and files(path) == {"x.y.h5", "x.y.robj"}


# ------------------------------------------------------------------ stopping at every step


class Stopped(BaseException):
    """The process ended here."""


class Steps:
    """Counts what changes a file, and stops before a given change, or in the middle of a write."""

    def __init__(self, monkeypatch, stop: int):
        self.stop, self.count, self.told = stop, 0, []
        for name in ("replace", "_write", "_remove"):
            place = os if name == "replace" else pair
            monkeypatch.setattr(place, name, self.counted(name, getattr(place, name)))

    def counted(self, name, original):
        def step(*arguments):
            self.count += 1
            self.told.append((name, *(getattr(a, "name", "") for a in arguments[:2])))
            if self.count == self.stop:
                if name == "_write":
                    arguments[0].write_bytes(arguments[1][: len(arguments[1]) // 2])
                raise Stopped
            return original(*arguments)

        return step


def stopped_save(path: Path, text: str, robj: bytes | None, stop: int) -> list | None:
    """Save and stop before step `stop`; returns None where the save ended before."""
    with pytest.MonkeyPatch.context() as patch:
        # What a process cleans up when it fails, it leaves behind when it is killed.
        steps = Steps(patch, stop)
        removed = pair._remove
        patch.setattr(pair, "_remove", lambda *paths: None if steps.count >= stop else removed(*paths))
        try:
            save(path, text, robj)
        except Stopped:
            return steps.told
    return None


@pytest.mark.parametrize("old, new", list(product([b"one", None], [b"two, longer", b"2", None])))
def test_the_last_good_pair_loads_wherever_a_save_stops(tmp_path, old, new):
    seen = set()
    for stop in range(1, 30):
        path = tmp_path / str(stop) / "x.h5"
        path.parent.mkdir()
        save(path, "old", old)
        if stopped_save(path, "new", new, stop) is None:
            break
        committed = text_of(path) == "new"
        seen.add(committed)
        assert load(path) == (("new", new) if committed else ("old", old))
        assert load(path) == (("new", new) if committed else ("old", old))
        assert not any(name.endswith(".new") for name in files(path))
        assert committed or files(path) == {"x.h5", *(["x.robj"] if old else [])}
        save(path, "third", b"three")
        assert load(path) == ("third", b"three") and files(path) == {"x.h5", "x.robj"}
    assert stop > 3 and False in seen
    if new is not None:
        assert stop >= 6


@pytest.mark.parametrize("second_stop", range(1, 9))
@pytest.mark.parametrize("stop", range(1, 9))
def test_a_save_after_a_stopped_save_may_stop_too(tmp_path, stop, second_stop):
    path = tmp_path / "x.h5"
    save(path, "old", b"one")
    stopped_save(path, "new", b"two", stop)
    stopped_save(path, "newer", b"three", second_stop)
    found = load(path)
    assert found in {("old", b"one"), ("new", b"two"), ("newer", b"three")}
    assert files(path) == {"x.h5", "x.robj"}


@pytest.mark.parametrize("stop", range(1, 6))
def test_a_first_save_that_stops_leaves_nothing_that_is_loaded(tmp_path, stop):
    path = tmp_path / "x.h5"
    assert stopped_save(path, "new", b"two", stop) is not None or path.exists()
    assert not path.exists() or load(path) == ("new", b"two")
    save(path, "again", b"three")
    assert load(path) == ("again", b"three") and files(path) == {"x.h5", "x.robj"}


def test_an_h5_that_was_renamed_before_its_robj_is_met(path):
    save(path, "old", b"one")
    path.write_bytes(pair.sealed(b"new", b"two"))
    pair.partner(path, ".new").write_bytes(b"two")
    assert load(path) == ("new", b"two") and files(path) == {"x.y.h5", "x.y.robj"}


# ------------------------------------------------------------------ what is wrong with the second file


def test_a_missing_robj_is_named(path):
    save(path, "a", b"one")
    pair.partner(path).unlink()
    with pytest.raises(MissingFileError, match=r"x\.y\.robj, the R object that belongs to .*x\.y\.h5, is not there"):
        load(path)


@pytest.mark.parametrize("foreign, why", [(b"longer one", "10 bytes, not 3"), (b"eno", "SHA-256 is another")])
def test_a_foreign_robj_is_named(path, foreign, why):
    save(path, "a", b"one")
    pair.partner(path).write_bytes(foreign)
    with pytest.raises(FileError, match=rf"x\.y\.robj is foreign.*{why}.*allow_missing_r=True"):
        load(path)
    assert pair.partner(path).read_bytes() == foreign


# ------------------------------------------------------------------ what is wrong with the place


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(MissingFileError, match=r"there is no directory .*nowhere\. Make it first"):
        save(tmp_path / "nowhere" / "x.h5", "a", None)


def test_a_directory_in_the_place_of_the_file_is_named(tmp_path):
    (tmp_path / "x.h5").mkdir()
    with pytest.raises(FileError, match="it is a directory"):
        save(tmp_path / "x.h5", "a", None)


@pytest.mark.parametrize("at", ["x.y.robj.new", "x.y.h5.new"])
@pytest.mark.parametrize(
    "code, advice",
    [(errno.ENOSPC, "Make room"), (errno.EDQUOT, "Make room"), (errno.EACCES, "may write to"),
     (errno.EROFS, "may write to"), (errno.EIO, "another name")],
)  # fmt: skip
def test_a_write_that_fails_leaves_the_last_pair(path, monkeypatch, at, code, advice):
    save(path, "old", b"one")
    write = pair._write

    def failing(to, content):
        if to.name == at:
            write(to, content[: len(content) // 2])
            raise OSError(code, os.strerror(code))
        write(to, content)

    monkeypatch.setattr(pair, "_write", failing)
    with pytest.raises(FileError, match=rf"x\.y\.h5 can't be written: {os.strerror(code)}\. .*{advice}.*is unharmed"):
        save(path, "new", b"two")
    assert load(path) == ("old", b"one") and files(path) == {"x.y.h5", "x.y.robj"}


def test_a_full_disk_leaves_the_last_pair(tmp_path):
    """The size of a file is limited for a process, whose writes then fail as on a full disk."""
    path = tmp_path / "x.h5"
    save(path, "old", b"one")
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "from pymer4.storage import pair\n"
        "pair.exchange(Path(sys.argv[1]), b'x' * 100, b'y' * 10_000)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert done.returncode == 1
    assert "pymer4.errors.FileError" in done.stderr and "Make room" in done.stderr
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 4096 and signal.getsignal(signal.SIGXFSZ) is not None
    assert load(path) == ("old", b"one") and files(path) == {"x.h5", "x.robj"}


def test_a_directory_that_can_only_be_read_is_no_hindrance_to_loading(path, monkeypatch):
    save(path, "old", b"one")
    os.rename(pair.partner(path), pair.partner(path, ".new"))

    def refused(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "replace", refused)
    assert load(path) == ("old", b"one")
    assert files(path) == {"x.y.h5", "x.y.robj.new"}


# ------------------------------------------------------------------ several at once


def saves(path: Path, name: str, n: int) -> None:
    for i in range(n):
        save(path, f"{name}{i}", f"{name}{i} ".encode() * 2000)


def test_saves_wait_for_one_another_and_loads_see_whole_pairs(tmp_path):
    path = tmp_path / "x.h5"
    save(path, "a0", b"a0 " * 2000)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=saves, args=(path, name, 60)) for name in "ab"]
    for worker in workers:
        worker.start()
    seen = set()
    while any(worker.is_alive() for worker in workers):
        for _ in range(10):
            content = path.read_bytes()
            text = content.split(pair._SEAL)[0].decode()
            robj = pair.robj_of(path, pair.named(content))
            if robj is None:
                assert path.read_bytes() != content  # another save took its place meanwhile
                continue
            pair.settle(path)
            assert robj == f"{text} ".encode() * 2000
            seen.add(text)
            break
        else:
            pytest.fail("no whole pair in ten attempts")
    assert all(worker.exitcode == 0 for worker in workers)
    assert len(seen) > 3
    text, robj = load(path)
    assert text in ("a59", "b59") and robj == f"{text} ".encode() * 2000 and files(path) == {"x.h5", "x.robj"}


def test_a_save_that_waits_too_long_says_for_what(path, monkeypatch):
    save(path, "old", b"one")
    monkeypatch.setattr(pair, "_PATIENCE", 0.05)
    with pair._alone(path, patience=0):
        start = time.monotonic()
        with pytest.raises(FileError, match="another process has been saving into"):
            save(path, "new", b"two")
        assert time.monotonic() - start < 5
        pair.settle(path)
    assert load(path) == ("old", b"one")
