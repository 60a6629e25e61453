"""Plain trees in HDF5: the layout by deepdish's rules and its own file, and what is refused."""

from __future__ import annotations

import io
import pickle
import runpy
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from kept import LEGACY, alike

from pymer4.errors import FileError
from pymer4.storage import tree
from pymer4.storage.legacy import unpickled
from pymer4.storage.tree import TreeError

TREE = runpy.run_path(str(LEGACY / "make_deepdish_tree.py"))["TREE"]
ZLIB = {"compression": "gzip", "compression_opts": 9, "shuffle": True}


def opened(values: dict, compression: Any = ZLIB) -> h5py.File:
    return h5py.File(io.BytesIO(tree.write(values, compression)), "r")


def read(path: Path, unpickled: Any = None) -> Any:
    return tree.read(path.read_bytes(), path, unpickled)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file that has the version of the layout, and nothing else."""
    (tmp_path / "x.h5").write_bytes(tree.write({}, {}))
    return tmp_path / "x.h5"


# ------------------------------------------------------------------ the layout


def by_the_rules(node: Any) -> Any:
    """Return what `deepdish.io.load` returns, by the rules that it goes by; it knows nothing of the reader here."""
    if isinstance(node, h5py.Dataset):
        if "zeroarray_dtype" in node.attrs:
            return np.zeros(tuple(node[:]), dtype=node.attrs["zeroarray_dtype"].decode())
        text = {b"unicode": "U", b"ascii": "S", None: None}[node.attrs.get("strtype")]
        if text is not None:
            return node[:].view(f"{text}{node.attrs['itemsize']}")
        return node[:].astype(bool) if node.id.get_type().get_class() == h5py.h5t.BITFIELD else node[:]
    title = node.attrs["TITLE"].decode() if "TITLE" in node.attrs else ""
    found = {name: by_the_rules(node[name]) for name in node}
    for name in node.attrs:
        if name not in ("CLASS", "TITLE", "VERSION", "PYTABLES_FORMAT_VERSION") and not name.startswith("DEEPDISH_IO"):
            found[name] = attribute_by_the_rules(node, name)
    if title.startswith(("list:", "tuple:")):
        values = [found[f"i{i}"] for i in range(int(title.partition(":")[2]))]
        return values if title[0] == "l" else tuple(values)
    return None if title.startswith("nonetype:") else dict(sorted(found.items()))


def attribute_by_the_rules(node: Any, name: str) -> Any:
    kind, value = node.attrs.get_id(name).get_type(), node.attrs[name]
    if kind.get_class() == h5py.h5t.STRING:
        assert kind.get_cset() == h5py.h5t.CSET_UTF8 and not kind.is_variable_str()
        return "" if isinstance(value, h5py.Empty) else value.decode()
    if kind.get_class() == h5py.h5t.BITFIELD:
        return bool(value)
    assert value.dtype in (np.int64, np.float64)
    return value.item()


# Bytes, and text of fixed width, stand in files of deepdish; what is written here has text as arrays of UTF-8.
PLAIN_TREE = {name: value for name, value in TREE.items() if name not in ("bytes", "texts", "long texts")}


@pytest.mark.parametrize("compression", [ZLIB, {}], ids=["zlib", "none"])
def test_deepdish_reads_what_was_written(compression):
    with opened(PLAIN_TREE, compression) as file:
        assert dict(file.attrs)["DEEPDISH_IO_VERSION"] == 12
        alike(by_the_rules(file), dict(sorted(PLAIN_TREE.items())))
        expected = "gzip" if compression else None
        assert [file[name].compression for name in ("floats", "long floats")] == [None, expected]


def test_the_file_of_deepdish_is_read_as_it_was_written_and_by_its_rules():
    path = LEGACY / "deepdish_tree.h5"
    found = read(path)
    assert found.keys() == TREE.keys()
    with h5py.File(path, "r") as file:
        for name in TREE.keys() - {"bytes"}:
            alike(found[name], TREE[name])
            alike(by_the_rules(file[name]) if name in file else attribute_by_the_rules(file, name), TREE[name])


def test_an_array_stands_once_in_the_file():
    noise = np.random.default_rng(1).normal(size=50_000)
    values = {"a": noise, "b": {"c": noise.copy(), "d": noise.astype("f4"), "e": noise.reshape(2, -1)}}
    with opened(values) as file:
        links = [file["b"].get(name, getlink=True) for name in "cde"]
    assert [getattr(link, "path", None) for link in links] == ["/a", None, None]
    alike(tree.read(tree.write(values, ZLIB), Path("x.h5")), values)
    assert tree.write(values, ZLIB) == tree.write(values, ZLIB)


# ------------------------------------------------------------------ refusals


def test_values_in_other_files_are_refused(path):
    with h5py.File(path.with_name("other.h5"), "w") as other:
        other["x"] = np.arange(3.0)
    layout = h5py.VirtualLayout(shape=(3,), dtype=float)
    layout[:] = h5py.VirtualSource(str(path.with_name("other.h5")), "x", shape=(3,))
    outside = [(str(path.with_name("other.h5")), 0, 24)]
    for put, told in (
        (lambda file: file.__setitem__("x", h5py.ExternalLink("other.h5", "/x")), "points to another file"),
        (lambda file: file.create_virtual_dataset("x", layout), "from another place"),
        (lambda file: file.create_dataset("x", (3,), dtype=float, external=outside), "from another place"),
    ):
        with h5py.File(path, "a") as file:
            put(file)
        with pytest.raises(TreeError, match=told):
            read(path)
        with h5py.File(path, "a") as file:
            del file["x"]


def test_links_in_a_circle_end(path):
    with h5py.File(path, "a") as file:
        file.create_group("a").attrs["TITLE"] = "dict:1"
        file["a/b"] = h5py.SoftLink("/a")
    assert read(path) == {"a": {"b": None}}


def test_pickles_are_refused_unless_asked_for(path):
    with h5py.File(path, "a") as file:
        held = file.create_dataset("p", (1,), dtype=h5py.vlen_dtype(np.uint8))
        held[0] = np.frombuffer(pickle.dumps(np.dtype(float), 4), dtype=np.uint8)
        held.attrs["PSEUDOATOM"] = b"object"
    with pytest.raises(TreeError, match="/p holds a pickle"):
        read(path)
    assert read(path, unpickled) == {"p": np.dtype(float)}


# ------------------------------------------------------------------ pickles of the 0.7 line


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_objects_are_read(protocol, order):
    held = np.array(
        [[1.5, "a", None], [2, "é", True], [np.float64(1.5), np.int64(3), np.bool_(True)]], object, order=order
    )
    alike(unpickled(pickle.dumps(held, protocol)).tolist(), held.tolist())


@pytest.mark.parametrize("value", [*map(np.dtype, ["f8", "O", "bool", ">f8", "S5", "U3"]), ["a"] * 300, {"a": [1]}])
def test_dtypes_and_long_lists_are_read(value):
    assert unpickled(pickle.dumps(value, 4)) == value


class Calls:
    """Runs a function when it is unpickled."""

    def __init__(self, *what: Any):
        self.what = what

    def __reduce__(self) -> tuple:
        return self.what[0], self.what[1:]


@pytest.mark.parametrize(
    "held",
    [
        Calls(exec, "raise SystemExit"), Calls(print, "x"), Calls(np.load, "x.npy"), Calls(np.ndarray, (3,)),
        Calls(np.dtype, "V8"), np.array([Calls(print, "x")], dtype=object), np.array([{1}], dtype=object),
        np.arange(3.0), {1, 2}, 1 + 2j, np.float64(1), FileError("x"), Path("x"), np.array([[1, [2]]], dtype=object),
        np.dtype([("a", float)]), np.array([np.datetime64("2020")], dtype=object),
    ],
    ids=lambda held: repr(held)[:30],
)  # fmt: skip
@pytest.mark.parametrize("protocol", [2, 5])
def test_pickles_that_hold_more_are_refused(held, protocol, capsys):
    with pytest.raises(TreeError, match="pickle in it"):
        unpickled(pickle.dumps(held, protocol))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\x80\x05", pickle.dumps([1, 2])[:-3]])
def test_damaged_pickles_are_refused(data):
    with pytest.raises(TreeError, match="can't be read"):
        unpickled(data)


def test_a_pickle_that_shares_itself_is_refused():
    deep: list = [1]
    for _ in range(40):
        deep = [deep, deep]
    with pytest.raises(TreeError, match="holds a list"):
        unpickled(pickle.dumps(deep))
