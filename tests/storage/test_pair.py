"""Two files that change at once: every step at which a save can stop, and what the next one makes of it."""

from __future__ import annotations

import errno
import multiprocessing
import os
import time
from itertools import product
from pathlib import Path

import pytest

from pymer4.errors import FileError, MissingFileError, OptionError
from pymer4.storage import pair


def save(path: Path, text: str, robj: bytes | None) -> None:
    pair.check_place(path)
    pair.exchange(path, text.encode(), robj)


def load(path: Path) -> tuple[str, bytes | None]:
    """Return what a pair holds, as `load_model` reads it."""
    content, _, robj = pair.read(path)
    if robj is None:
        raise pair.no_robj(path)
    return content.split(pair._SEAL)[0].decode(), robj or None


def files(path: Path) -> set[str]:
    return {file.name for file in path.parent.iterdir()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "run.v2").mkdir()
    return tmp_path / "run.v2" / "x.y.h5"


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
    assert load(path) == ("after", b"2") and target.read_bytes() == b"precious"
    assert files(path) == {"x.y.h5", "x.y.robj"} and not any(file.is_symlink() for file in path.parent.iterdir())


@pytest.mark.parametrize(
    "name, expected",
    [("x.hdf5", "x.robj"), ("./run.v2/a.b.c.h5", "run.v2/a.b.c.robj"), ("x.H5", "x.robj"), (".x.h5", ".x.robj"),
     ("ä b.h5", "ä b.robj"), ("x.robj.h5", "x.robj.robj")],
)  # fmt: skip
@pytest.mark.parametrize("kind", [str, Path, os.fsencode])
def test_the_last_suffix_is_replaced(name, expected, kind):
    checked = pair.checked_path(kind(name))
    assert pair.partner(checked) == Path(expected) and pair.partner(checked, ".new") == Path(expected + ".new")


@pytest.mark.parametrize("name", ["x", "x.rds", "x.h5.gz", "x.h5.new", "", ".h5", "x/", "h5", 3, None, ["x.h5"]])
def test_other_names_are_refused(name):
    with pytest.raises(OptionError, match=r"\.h5|str or a Path"):
        pair.checked_path(name)


# ------------------------------------------------------------------ the straight way


@pytest.mark.parametrize("robj", [b"", b"one"])
def test_a_seal_names_the_robj_and_tells_a_changed_bit(robj):
    sealed = pair.sealed(b"content", robj)
    assert pair.named(sealed) == pair.digest(robj) and pair.named(b"content") is None
    for place in (0, 5, len(sealed) - 40, len(sealed) - 1):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(ValueError, match="check sum"):
            pair.named(bytes(changed))


@pytest.mark.parametrize("first, second", list(product([b"one", None], [b"two", None])))
def test_a_pair_takes_the_place_of_another(path, first, second):
    save(path, "first", first)
    assert load(path) == ("first", first)
    save(path, "second", second)
    assert load(path) == ("second", second) and files(path) == {"x.y.h5", *(["x.y.robj"] if second else [])}


def test_an_robj_that_belongs_to_nothing_is_not_overwritten(path):
    pair.partner(path).write_bytes(b"a user's own")
    with pytest.raises(FileError, match=r"x\.y\.robj, which no x\.y\.h5 belongs to\. Move that file away"):
        save(path, "a", b"one")
    assert files(path) == {"x.y.robj"} and pair.partner(path).read_bytes() == b"a user's own"
    save(path, "b", None)
    assert load(path) == ("b", None) and pair.partner(path).read_bytes() == b"a user's own"
    path.write_bytes(b"damaged")
    save(path, "c", b"one")
    assert load(path) == ("c", b"one") and files(path) == {"x.y.h5", "x.y.robj"}


# ------------------------------------------------------------------ stopping at every step


class Stopped(BaseException):
    """The process ended here."""


def stopped_save(path: Path, text: str, robj: bytes | None, stop: int) -> bool:
    """Save, and end before the change number `stop` of a file, in the middle of a write; whether it came so far."""
    done = 0

    def counted(name, original):
        def step(*arguments):
            nonlocal done
            done += 1
            if done > stop:
                return None  # what a process cleans up when it fails, it leaves behind when it is killed
            if done == stop:
                if name == "_write":
                    arguments[0].write_bytes(arguments[1][: len(arguments[1]) // 2])
                raise Stopped
            return original(*arguments)

        return step

    with pytest.MonkeyPatch.context() as patch:
        for place, name in ((os, "replace"), (pair, "_write"), (pair, "_remove")):
            patch.setattr(place, name, counted(name, getattr(place, name)))
        try:
            save(path, text, robj)
        except Stopped:
            return True
    return False


@pytest.mark.parametrize("old, new", list(product([b"one", None], [b"two, longer", b"2", None])))
def test_the_last_good_pair_loads_wherever_a_save_stops(tmp_path, old, new):
    seen = set()
    for stop in range(1, 30):
        path = tmp_path / str(stop) / "x.h5"
        path.parent.mkdir()
        save(path, "old", old)
        if not stopped_save(path, "new", new, stop):
            break
        committed = path.read_bytes().startswith(b"new")
        seen.add(committed)
        for _ in range(2):
            assert load(path) == (("new", new) if committed else ("old", old))
        assert not any(name.endswith(".new") for name in files(path))
        assert committed or files(path) == {"x.h5", *(["x.robj"] if old else [])}
        save(path, "third", b"three")
        assert load(path) == ("third", b"three") and files(path) == {"x.h5", "x.robj"}
    assert stop > (5 if new else 3) and False in seen


@pytest.mark.parametrize("second_stop", range(1, 9))
@pytest.mark.parametrize("stop", range(1, 9))
def test_a_save_after_a_stopped_save_may_stop_too(tmp_path, stop, second_stop):
    path = tmp_path / "x.h5"
    save(path, "old", b"one")
    stopped_save(path, "new", b"two", stop)
    stopped_save(path, "newer", b"three", second_stop)
    assert load(path) in {("old", b"one"), ("new", b"two"), ("newer", b"three")}
    assert files(path) == {"x.h5", "x.robj"}


@pytest.mark.parametrize("stop", range(1, 6))
def test_a_first_save_that_stops_leaves_nothing_that_is_loaded(tmp_path, stop):
    path = tmp_path / "x.h5"
    stopped_save(path, "new", b"two", stop)
    if path.exists():
        assert load(path) == ("new", b"two")
    else:
        with pytest.raises(MissingFileError, match="There is no file"):
            load(path)
    save(path, "again", b"three")
    assert load(path) == ("again", b"three") and files(path) == {"x.h5", "x.robj"}


# ------------------------------------------------------------------ what is wrong with the second file, or the place


def test_a_missing_or_foreign_robj_is_named(path):
    save(path, "a", b"one")
    pair.partner(path).unlink()
    with pytest.raises(MissingFileError, match=r"x\.y\.robj, the R object that belongs to .*x\.y\.h5, is not there"):
        load(path)
    for foreign in (b"longer one", b"eno"):
        pair.partner(path).write_bytes(foreign)
        with pytest.raises(FileError, match=r"x\.y\.robj is foreign.*SHA-256 is another.*allow_missing_r=True"):
            load(path)
        assert pair.partner(path).read_bytes() == foreign
    save(path, "b", None)
    assert pair.partner(path).read_bytes() == b"eno", "it was not of the pair that was there"


def test_a_directory_that_is_missing_or_in_the_place_is_named(tmp_path):
    with pytest.raises(MissingFileError, match=r"there is no directory .*nowhere\. Make it first"):
        save(tmp_path / "nowhere" / "x.h5", "a", None)
    (tmp_path / "x.h5").mkdir()
    with pytest.raises(FileError, match="it is a directory"):
        save(tmp_path / "x.h5", "a", None)


@pytest.mark.parametrize("at", ["x.y.robj.new", "x.y.h5.new"])
@pytest.mark.parametrize(
    "code, advice", [(errno.ENOSPC, "Make room"), (errno.EACCES, "may write to"), (errno.EIO, "another name")]
)
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


def test_a_directory_that_can_only_be_read_is_no_hindrance_to_loading(path, monkeypatch):
    save(path, "old", b"one")
    os.rename(pair.partner(path), pair.partner(path, ".new"))

    def refused(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "replace", refused)
    assert load(path) == ("old", b"one") and files(path) == {"x.y.h5", "x.y.robj.new"}


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
        text, robj = load(path)
        assert robj == f"{text} ".encode() * 2000
        seen.add(text)
    assert all(worker.exitcode == 0 for worker in workers) and len(seen) > 3
    text, robj = load(path)
    assert text in ("a59", "b59") and robj == f"{text} ".encode() * 2000 and files(path) == {"x.h5", "x.robj"}


def test_a_save_that_waits_too_long_says_for_what(path, monkeypatch):
    save(path, "old", b"one")
    monkeypatch.setattr(pair, "_PATIENCE", 0.05)
    pair.new(path).write_bytes(b"left")
    with pair._alone(path, patience=0):
        start = time.monotonic()
        with pytest.raises(FileError, match="another process has been saving into"):
            save(path, "new", b"two")
        assert time.monotonic() - start < 5
        assert load(path) == ("old", b"one") and pair.new(path).exists()
    assert load(path) == ("old", b"one") and files(path) == {"x.y.h5", "x.y.robj"}


@pytest.mark.skipif(os.name != "posix", reason="there is no flock on this system")
@pytest.mark.parametrize("code, saves_all_the_same", [(errno.ENOTSUP, True), (errno.EIO, False)])
def test_a_file_system_without_locks_lets_saves_through(path, monkeypatch, code, saves_all_the_same):
    def refused(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", refused)
    if saves_all_the_same:
        save(path, "a", b"one")
        assert load(path) == ("a", b"one")
    else:
        with pytest.raises(FileError, match="can't be written"):
            save(path, "a", b"one")
