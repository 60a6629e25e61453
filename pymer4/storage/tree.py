"""Plain trees in HDF5, in the layout that `deepdish.io.load` reads.

Dicts, lists, tuples and None are groups, told apart by their `TITLE`: `dict:<n>`, `list:<n>`, `tuple:<n>`, `nonetype:`;
text and scalars are attributes of the group, arrays are datasets, one that occurred before is a soft link.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import pymer4
from pymer4.errors import FileError

FORMAT = 1
"""Version of what stands in a tree, its entry `format`."""

DAMAGES = (OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError, ArithmeticError, MemoryError)
"""What reading a damaged file can end in."""

_SKIPPED = "DEEPDISH_IO"  # attributes that begin so are no entries
_VERSION, _LAYOUT = f"{_SKIPPED}_VERSION", 12  # of deepdish's layout
_NEWEST = {_VERSION: _LAYOUT, "format": FORMAT}
_SYSTEM = ("CLASS", "TITLE", "VERSION", "FILTERS", "FLAVOR", "PYTABLES_FORMAT_VERSION", "NROWS", "EXTDIM")
_RESERVED = re.compile(rf"^$|/|^\.+$|^_[a-z]_|[\0\ud800-\udfff]|^{_SKIPPED}|^({'|'.join(_SYSTEM)})$|^pandas_")
_CHUNK = 2**16  # bytes of a column that are compressed, and read, at once
_SMALL = 300  # elements up to which an array is neither compressed nor looked for among those before
_SHRUNK = 1100  # no compression makes data smaller by more: deflate reaches 1,032


class TreeError(ValueError):
    """A file that does not follow the layout; says where."""


def is_name(key: Any) -> bool:
    """Whether an entry can have this name: HDF5 and PyTables have other uses for some."""
    return isinstance(key, str) and not _RESERVED.search(key) and len(key.encode()) < 255


# ------------------------------------------------------------------ writing


def write(tree: Mapping[str, Any], compression: Mapping[str, Any]) -> bytes:
    """Return the content of an HDF5 file that holds a tree; `compression` goes to h5py's `create_dataset`."""
    import h5py

    with h5py.File("tree.h5", "w", driver="core", backing_store=False) as file:
        _set(file, _VERSION, _LAYOUT)
        _write(file, tree, compression, {})
        file.flush()
        return file.id.get_file_image()


def _write(group: Any, entries: Mapping[str, Any], compression: Mapping[str, Any], written: dict[Any, str]) -> None:
    """Write entries into a group; `written` is where arrays of the same values stand."""
    for name, value in entries.items():
        if isinstance(value, np.ndarray):
            _write_array(group, name, value, compression, written)
        elif value is None or isinstance(value, (Mapping, list, tuple)):
            kind = "nonetype" if value is None else "dict" if isinstance(value, Mapping) else type(value).__name__
            held = value or {}
            made = group.create_group(name)
            _set(made, "TITLE", f"{kind}:{len(held)}")
            named = held if isinstance(held, Mapping) else {f"i{i}": part for i, part in enumerate(held)}
            _write(made, named, compression, written)
        else:
            _set(group, name, value)


def _write_array(
    group: Any, name: str, values: np.ndarray, compression: Mapping[str, Any], written: dict[Any, str]
) -> None:
    import h5py

    held = np.ascontiguousarray(values) if values.size else np.array(values.shape, dtype="<i8")
    is_large, is_truth = held.size > _SMALL, held.dtype.kind == "b"
    same = (held.dtype.str, held.shape, hashlib.sha256(held).digest()) if is_large else None
    if same in written:
        group[name] = h5py.SoftLink(written[same])
        return
    chunks = (max(1, min(_CHUNK // held.itemsize, len(held))), *(1 for _ in held.shape[1:]))
    made = group.create_dataset(
        name,
        data=held.view(np.uint8) if is_truth else held,
        dtype=h5py.Datatype(h5py.h5t.NATIVE_B8) if is_truth else None,
        **({"chunks": chunks, **compression} if is_large and compression else {}),
    )
    if is_large:
        written[same] = made.name
    if not values.size:
        made.attrs["zeroarray_dtype"] = np.bytes_(values.dtype.str)


def _set(node: Any, name: str, value: str | bool | int | float) -> None:
    """Set an attribute in the type that PyTables gives it; h5py's own for text and booleans are others."""
    import h5py

    if isinstance(value, str):
        coded = value.encode("utf-8", "surrogatepass")
        kind = h5py.string_dtype("utf-8", max(len(coded), 1))
        node.attrs.create(name, np.array(coded, dtype=kind) if coded else h5py.Empty(kind))
    elif isinstance(value, bool):
        node.attrs.create(name, np.uint8(value), dtype=h5py.Datatype(h5py.h5t.NATIVE_B8))
    else:
        node.attrs.create(name, value, dtype="<i8" if isinstance(value, int) else "<f8")


# ------------------------------------------------------------------ reading


def read(content: bytes, path: Path, unpickled: Callable[[bytes], Any] | None = None) -> dict[str, Any]:
    """Return the tree of a file; `unpickled` turns the pickles of old ones into values, None refuses them.

    Raises:
        TreeError: the file does not follow the layout; a damaged one ends in any of `DAMAGES`.
        FileError: it is of another kind, newer, or compressed in a way that is not known here.
    """
    import h5py

    another = FileError(
        f"{path} is no model file: it is not HDF5, or not in the layout of one. Give the .h5 that save_model() wrote, "
        "or one of release 0.7."
    )
    if not content.startswith(b"\x89HDF\r\n\x1a\n"):
        raise another
    with h5py.File(io.BytesIO(content), "r") as file:
        if _VERSION not in file.attrs:
            raise another
        if any(name in file.attrs and file.attrs[name] > most for name, most in _NEWEST.items()):
            by = _attribute(file, "written_by") if "written_by" in file.attrs else "a newer version"
            raise FileError(
                f"{path} was written by {by}, in a format that pymer4 {pymer4.__version__} does not know. "
                "Upgrade pymer4: pip install -U pymer4."
            )
        return _Reader(path, unpickled).group(file["/"])


class _Reader:
    def __init__(self, path: Path, unpickled: Callable[[bytes], Any] | None):
        self.path, self.unpickled = path, unpickled
        self.known: dict[str, Any] = {}

    def child(self, group: Any, name: str) -> Any:
        import h5py

        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise TreeError(f"{group.name}/{name} points to another file.")
        node = group.file[link.path] if isinstance(link, h5py.SoftLink) else group[name]
        if node.name not in self.known:
            self.known[node.name] = None
            self.known[node.name] = self.group(node) if hasattr(node, "keys") else self.array(node)
        found, is_linked = self.known[node.name], isinstance(link, h5py.SoftLink)
        return found.copy() if is_linked and isinstance(found, np.ndarray) else found

    def group(self, group: Any) -> Any:
        kind, _, size = (_attribute(group, "TITLE") if "TITLE" in group.attrs else "").partition(":")
        told = [name for name in group.attrs if name not in _SYSTEM and not name.startswith(_SKIPPED)]
        entries = {name: self.child(group, name) for name in group} | {name: _attribute(group, name) for name in told}
        if kind in ("list", "tuple"):
            return (list if kind == "list" else tuple)(entries[f"i{i}"] for i in range(int(size)))
        return None if kind == "nonetype" else {name: entries[name] for name in sorted(entries)}

    def array(self, node: Any) -> Any:
        import h5py

        if "PSEUDOATOM" in node.attrs:
            if self.unpickled is None:
                raise TreeError(f"{node.name} holds a pickle, which files of this version never do.")
            return self.unpickled(bytes(node[0]))
        if node.external or node.is_virtual:
            raise TreeError(f"{node.name} takes its values from another place.")
        if node.nbytes > _SHRUNK * node.id.get_storage_size():
            raise TreeError(f"{node.name} says that it has {node.nbytes} bytes, which the file can't hold.")
        self.require_filters(node)
        values = node[()]
        if "zeroarray_dtype" in node.attrs:
            if np.prod(values, dtype=float) > 0:
                raise TreeError(f"{node.name} has values that stand nowhere.")
            return np.zeros(tuple(values), dtype=bytes(node.attrs["zeroarray_dtype"]).decode())
        if bytes(node.attrs.get("strtype", b"")) == b"unicode":
            return values.view(f"<U{int(node.attrs['itemsize'])}")
        return values.astype(bool) if node.id.get_type().get_class() == h5py.h5t.BITFIELD else values

    def require_filters(self, node: Any) -> None:
        """Refuse an array whose compression HDF5 does not know here."""
        from h5py.h5z import filter_avail

        plist = node.id.get_create_plist()
        needed = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
        if not all(map(filter_avail, needed)):
            with contextlib.suppress(ImportError):
                import hdf5plugin  # noqa: F401
        if not all(map(filter_avail, needed)):
            raise FileError(
                f"{self.path} can't be read: it is compressed by blosc or another filter that HDF5 has not here. "
                "Install hdf5plugin, if it is not there, or save the model again with compression='zlib'."
            )


def _attribute(node: Any, name: str) -> Any:
    """Return an attribute as the Python value it stands for."""
    import h5py

    value = node.attrs[name]
    if isinstance(value, h5py.Empty):
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogatepass")
    is_truth = node.attrs.get_id(name).get_type().get_class() == h5py.h5t.BITFIELD
    return bool(value) if is_truth else value.item() if isinstance(value, np.generic) else value
