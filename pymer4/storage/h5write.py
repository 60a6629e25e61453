"""Writes plain trees to HDF5; `h5tree` says how they stand there.

h5py's own conveniences would give booleans and text other types than PyTables has for them, so types, attributes and
datasets are made one by one. The file is made in memory, and returned whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pymer4.storage.h5tree import MARK, ORDER, SKIPPED, SYSTEM, Tagged, TreeError, View, place, plain_scalar

LONG = 256
"""Entries from which on deepdish pickles a dict or a list."""
_SMALL = 300  # elements up to which deepdish leaves an array uncompressed
_ROWS = 8192
_LONGEST_TEXT = 60_000  # bytes; an attribute of HDF5 ends at 64 KiB
_RESERVED = re.compile(r"^$|/|^\.+$|^_[a-z]_|^__pair|\0|[\ud800-\udfff]|^DEEPDISH_IO|^pandas_(type|version)$")
_SCALARS = (str, int, float, bool)


def write(
    tree: Mapping[str, Any],
    marks: Mapping[str, str | int] | Callable[[], Mapping[str, str | int]],
    filters: Callable[[Any], None] | None,
) -> bytes:
    """Return an HDF5 file that holds a tree.

    Args:
        tree: a dict, whose entries stand in the root group.
        marks: attributes of the root group that are no entries; a function is called once the tree is written.
        filters: sets the compression of a dataset in an HDF5 property list; None leaves all as they are.

    Returns:
        The content of the file.

    Raises:
        TreeError: a value of another type.
    """
    import h5py

    with h5py.File("tree.h5", "w", driver="core", backing_store=False, libver=("earliest", "v110")) as file:
        writer = _Writer(h5py, filters)
        root = file["/"]
        writer.system(root, CLASS="GROUP", TITLE="", VERSION="1.0", PYTABLES_FORMAT_VERSION="2.1")
        writer.scalar(root, f"{SKIPPED}_VERSION", 12)
        writer.entries(root, tree)
        writer.finish()
        for name, value in (marks() if callable(marks) else marks).items():
            writer.scalar(root, MARK + name, value)
        file.flush()
        return file.id.get_file_image()


class _Writer:
    def __init__(self, h5py: Any, filters: Callable[[Any], None] | None):
        self.h5, self.filters = h5py, filters
        self.paths: dict[int, str] = {}
        self.kept: list[Any] = []
        self.views: list[tuple[Any, str, View]] = []

    def entries(self, group: Any, entries: Mapping[Any, Any]) -> None:
        named = [key for key in entries if isinstance(key, str) and _is_name(key)]
        if len(named) == len(entries):
            order = np.argsort(np.argsort(np.array(named, dtype=object), kind="stable"), kind="stable")
            if len(order) > 1 and np.any(np.diff(order) < 0):
                self.array_attribute(group, ORDER, order.astype("<i4"))
            for key, value in entries.items():
                self.value(group, key, value)
        else:
            for i, (key, value) in enumerate(entries.items()):
                pair = self.group(group, f"__pair{i}", "dict:2")
                self.value(pair, "key", key)
                self.value(pair, "value", value)

    def value(self, group: Any, name: str, value: Any) -> None:
        value = plain_scalar(value)
        if isinstance(value, np.ndarray):
            self.array(group, name, value)
        elif isinstance(value, View):
            self.views.append((group, name, value))
        elif value is None:
            if not self.linked(group, name, None):
                self.group(group, name, "nonetype:")
        elif isinstance(value, Tagged):
            self.entries(self.group(group, name, f"{value.kind}:"), value.entries)
        elif isinstance(value, Mapping):
            if len(value) >= LONG and all(type(plain_scalar(v)) in _SCALARS for v in value.values()):
                self.value(group, name, Tagged("items", {"keys": list(value), "values": list(value.values())}))
            else:
                self.entries(self.group(group, name, f"dict:{len(value)}"), value)
        elif isinstance(value, (list, tuple)):
            self.sequence(group, name, value)
        elif (other := _other_form(value)) is not None:
            self.value(group, name, other)
        elif isinstance(value, (str, bytes, bool, int, float)):
            self.scalar(group, name, value)
        else:
            raise TreeError(f"{place(group, name)} is a {type(value).__name__}, which can't be stored.")

    def sequence(self, group: Any, name: str, values: list | tuple) -> None:
        kinds = {type(plain_scalar(value)) for value in values}
        if len(values) >= LONG and len(kinds) == 1 and kinds <= set(_SCALARS):
            packed = _packed(values, kinds.pop())
            if packed is not None:
                self.value(group, name, Tagged("array", {**packed, "is_tuple": isinstance(values, tuple)}))
                return
        kind = "tuple" if isinstance(values, tuple) else "list"
        made = self.group(group, name, f"{kind}:{len(values)}")
        for i, value in enumerate(values):
            self.value(made, f"i{i}", value)

    def group(self, parent: Any, name: str, title: str) -> Any:
        made = parent.create_group(name)
        self.system(made, CLASS="GROUP", TITLE=title, VERSION="1.0")
        return made

    def linked(self, group: Any, name: str, value: Any) -> bool:
        """Make a soft link where the same object is in the file already, and remember this place where it is not."""
        path = self.paths.setdefault(id(value), place(group, name))
        self.kept.append(value)
        if path == place(group, name):
            return False
        group[name] = self.h5.SoftLink(path)
        return True

    def array(self, group: Any, name: str, values: np.ndarray) -> None:
        if values.ndim == 0:
            self.value(group, name, values.item())
        elif values.dtype.kind not in "biufcSU":
            raise TreeError(f"{place(group, name)} is an array of {values.dtype}, which can't be stored.")
        elif not self.linked(group, name, values):
            if values.size == 0:
                made = self.dataset(group, name, np.array(values.shape, dtype="<i8"))
                self.text(made, "zeroarray_dtype", values.dtype.str.encode(), ascii=True)
                return
            made = self.dataset(group, name, values)
            if values.dtype.kind in "SU":
                wide = values.dtype.itemsize // (4 if values.dtype.kind == "U" else 1)
                self.scalar(made, "itemsize", wide)
                self.text(made, "strtype", b"unicode" if values.dtype.kind == "U" else b"ascii", ascii=True)

    def dataset(self, group: Any, name: str, values: np.ndarray) -> Any:
        values = np.ascontiguousarray(values)
        if values.dtype.kind == "U":
            values = values.astype(values.dtype.newbyteorder("<"), copy=False).view(np.uint8)
        h5 = self.h5.h5d
        plist = self.properties()
        limits = None
        chunked = self.filters is not None and values.size > _SMALL
        if chunked:
            chunks = _chunks(values.shape, values.dtype.itemsize)
            limits = tuple(-(-size // chunk) * chunk for size, chunk in zip(values.shape, chunks, strict=True))
            plist.set_chunk(chunks)
            self.filters(plist)
        held = self.type_of(values.dtype)
        if values.dtype.kind == "S" and _has_gaps(values):
            held.set_strpad(self.h5.h5t.STR_NULLPAD)
        space = self.h5.h5s.create_simple(values.shape, limits)
        made = h5.create(group.id, name.encode(), held, space, plist)
        raw = values.view(np.uint8) if values.dtype.kind == "b" else values
        made.write(self.h5.h5s.ALL, self.h5.h5s.ALL, raw, held)
        made = self.h5.Dataset(made)
        if chunked:
            self.system(made, ascii=True, CLASS="CARRAY", TITLE="", VERSION="1.1")
        else:
            self.system(made, CLASS="ARRAY", FLAVOR="numpy", TITLE="", VERSION="2.4")
        return made

    def properties(self) -> Any:
        """Return the properties of a dataset; without its time, so that equal trees make equal files."""
        plist = self.h5.h5p.create(self.h5.h5p.DATASET_CREATE)
        plist.set_obj_track_times(False)
        return plist

    def type_of(self, dtype: np.dtype) -> Any:
        """Return the type that PyTables gives a dtype; what h5py would take for booleans and bytes is another."""
        if dtype.kind == "b":
            return self.h5.h5t.NATIVE_B8
        if dtype.kind != "S":
            return self.h5.h5t.py_create(dtype)
        return self.text_type(dtype.itemsize, ascii=True)

    def text_type(self, size: int, ascii: bool) -> Any:
        kind = self.h5.h5t.C_S1.copy()
        kind.set_size(max(size, 1))
        kind.set_strpad(self.h5.h5t.STR_NULLTERM)
        kind.set_cset(self.h5.h5t.CSET_ASCII if ascii else self.h5.h5t.CSET_UTF8)
        return kind

    def finish(self) -> None:
        """Store the views, once all that they show has its place."""
        for group, name, view in self.views:
            plist = self.properties()
            plist.set_fill_value(np.array(view.fill, dtype="<f8"))
            for here, source, there in view.pieces:
                spaces = self.selected(view.shape, here), self.selected(source.shape, there)
                plist.set_virtual(spaces[0], b".", self.paths[id(source)].encode(), spaces[1])
            space = self.h5.h5s.create_simple(view.shape)
            made = self.h5.h5d.create(group.id, name.encode(), self.h5.h5t.IEEE_F64LE, space, plist)
            self.system(self.h5.Dataset(made), CLASS="ARRAY", FLAVOR="numpy", TITLE="", VERSION="2.4")

    def selected(self, shape: tuple[int, ...], index: tuple[slice | int, ...]) -> Any:
        """Return a dataspace with some rows, and one column where there are columns, selected."""
        space = self.h5.h5s.create_simple(shape)
        starts = tuple(part.start if isinstance(part, slice) else part for part in index)
        counts = tuple(part.stop - part.start if isinstance(part, slice) else 1 for part in index)
        space.select_hyperslab(starts, counts)
        return space

    # --- attributes

    def system(self, node: Any, ascii: bool = False, **values: str) -> None:
        for name, value in values.items():
            self.text(node, name, value.encode(), ascii)

    def scalar(self, node: Any, name: str, value: str | bytes | bool | int | float) -> None:
        if isinstance(value, (str, bytes)):
            self.text(node, name, value.encode() if isinstance(value, str) else value, isinstance(value, bytes))
            return
        kind = {bool: self.h5.h5t.NATIVE_B8, int: self.h5.h5t.STD_I64LE, float: self.h5.h5t.IEEE_F64LE}[type(value)]
        made = self.h5.h5a.create(node.id, name.encode(), kind, self.h5.h5s.create(self.h5.h5s.SCALAR))
        made.write(np.array(value, dtype={bool: "u1", int: "<i8", float: "<f8"}[type(value)]), kind)

    def text(self, node: Any, name: str, value: bytes, ascii: bool) -> None:
        kind = self.text_type(len(value), ascii)
        extent = self.h5.h5s.SCALAR if value else self.h5.h5s.NULL
        made = self.h5.h5a.create(node.id, name.encode(), kind, self.h5.h5s.create(extent))
        if value:
            made.write(np.array(value), kind)

    def array_attribute(self, node: Any, name: str, values: np.ndarray) -> None:
        if values.nbytes <= _LONGEST_TEXT:
            node.attrs.create(name, values)


def _has_gaps(values: np.ndarray) -> bool:
    """Whether NUL stands inside a value, where text that NUL ends would end."""
    letters = values.reshape(-1, 1).view(np.uint8)
    return bool(np.any((letters[:, :-1] == 0) & (letters[:, 1:] != 0)))


def _is_name(key: str) -> bool:
    return not _RESERVED.search(key) and key not in SYSTEM and len(key.encode()) < 255


def _other_form(value: Any) -> Tagged | None:
    """Return the form of a scalar that does not fit an attribute; None where it fits."""
    if isinstance(value, complex):
        return Tagged("complex", {"real": value.real, "imag": value.imag})
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return Tagged("int", {"digits": str(value)})
    if isinstance(value, str):
        coded = value.encode("utf-8", "surrogatepass")
        if len(coded) > _LONGEST_TEXT or b"\0" in coded or any("\ud800" <= c <= "\udfff" for c in value):
            return Tagged("str", {"data": np.frombuffer(coded, dtype=np.uint8)})
    if isinstance(value, bytes) and (len(value) > _LONGEST_TEXT or b"\0" in value or not value):
        return Tagged("bytes", {"data": np.frombuffer(value, dtype=np.uint8)})
    return None


def _packed(values: list | tuple, kind: type) -> dict[str, Any] | None:
    """Return scalars of one type as an array; None where they don't fit."""
    if kind is str and any("\0" in v or _other_form(v) is not None for v in values):
        return None
    if kind is int and not all(-(2**63) <= v < 2**63 for v in values):
        return None
    dtype = {str: str, int: "<i8", float: "<f8", bool: bool}[kind]
    return {"values": np.array(values, dtype=dtype), "type": kind.__name__}


def _chunks(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return chunks of one column each, so that a column can be compressed and read alone."""
    rows = max(1, _ROWS * 8 // itemsize)
    return (min(rows, shape[0]), *(1 for _ in shape[1:]))
