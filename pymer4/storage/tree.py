"""Plain trees in HDF5, in the layout that `deepdish.io.load` reads.

Dicts, lists, tuples and None are groups, told apart by their `TITLE`: `dict:<n>`, `list:<n>`, `tuple:<n>`, `nonetype:`;
text and scalars are attributes of the group, arrays are datasets, one that occurred before is a soft link. A `Tagged`
is a group with the `TITLE` `<kind>:`, a dict for deepdish. An attribute that deepdish skips keeps the order of keys.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pymer4.errors import FileError

LAYOUT = 12
"""Version of deepdish's layout."""

_SKIPPED = "DEEPDISH_IO"  # attributes that begin so are no entries
_VERSION, _MARK = f"{_SKIPPED}_VERSION", f"{_SKIPPED}_PYMER4_"
_ORDER = f"{_MARK}ORDER"
_SYSTEM = ("CLASS", "TITLE", "VERSION", "FILTERS", "FLAVOR", "PYTABLES_FORMAT_VERSION", "NROWS", "EXTDIM")
_RESERVED = re.compile(rf"^$|/|^\.+$|^_[a-z]_|[\0\ud800-\udfff]|^{_SKIPPED}|^({'|'.join(_SYSTEM)})$|^pandas_")
_MANY = 10_000  # keys whose order does not fit an attribute
_CHUNK = 2**16  # bytes of a column that are compressed, and read, at once
_SMALL = 300  # elements up to which an array is not compressed
_SHRUNK = 1100  # no compression makes data smaller by more: deflate reaches 1,032


DAMAGES = (OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError, ArithmeticError, MemoryError)
"""What reading a damaged file can end in."""


class TreeError(ValueError):
    """A file that does not follow the layout; says where."""


@dataclass(frozen=True, slots=True)
class Tagged:
    """A dict of entries with the name of the kind of thing it stands for."""

    kind: str
    entries: Mapping[str, Any]


def is_name(key: Any) -> bool:
    """Whether an entry can have this name: HDF5 and PyTables have other uses for some."""
    return isinstance(key, str) and not _RESERVED.search(key) and len(key.encode()) < 255


# ------------------------------------------------------------------ writing


def write(tree: Mapping[str, Any], marks: Mapping[str, str | int], compression: Mapping[str, Any]) -> bytes:
    """Return the content of an HDF5 file that holds a tree.

    Args:
        tree: a dict, whose entries stand in the root group.
        marks: attributes of the root group that are no entries.
        compression: arguments of h5py's `create_dataset`.
    """
    import h5py

    with h5py.File("tree.h5", "w", driver="core", backing_store=False) as file:
        for name, value in {_VERSION: LAYOUT, **{_MARK + name: value for name, value in marks.items()}}.items():
            _set(file, name, value)
        _Writer(compression).entries(file, tree)
        file.flush()
        return file.id.get_file_image()


class _Writer:
    def __init__(self, compression: Mapping[str, Any]):
        self.compression = compression
        self.written: dict[int, tuple[Any, str]] = {}

    def entries(self, group: Any, entries: Mapping[str, Any]) -> None:
        for name, value in entries.items():
            if isinstance(value, np.ndarray):
                self.array(group, name, value)
            elif value is None:
                self.group(group, name, "nonetype:", {})
            elif isinstance(value, Tagged):
                self.group(group, name, f"{value.kind}:", value.entries)
            elif isinstance(value, (list, tuple)):
                kind = "list" if isinstance(value, list) else "tuple"
                self.group(group, name, f"{kind}:{len(value)}", {f"i{i}": held for i, held in enumerate(value)})
            elif isinstance(value, Mapping):
                made = self.group(group, name, f"dict:{len(value)}", value)
                places = {key: place for place, key in enumerate(sorted(value))}
                if list(places) != list(value) and len(places) < _MANY:
                    made.attrs[_ORDER] = np.array([places[key] for key in value], dtype="<i4")
            else:
                _set(group, name, value)

    def group(self, parent: Any, name: str, title: str, entries: Mapping[str, Any]) -> Any:
        made = parent.create_group(name)
        _set(made, "TITLE", title)
        self.entries(made, entries)
        return made

    def array(self, group: Any, name: str, values: np.ndarray) -> None:
        import h5py

        if id(values) in self.written:
            group[name] = h5py.SoftLink(self.written[id(values)][1])
            return
        held = np.ascontiguousarray(values) if values.size else np.array(values.shape, dtype="<i8")
        is_truth = held.dtype.kind == "b"
        chunks = (max(1, min(_CHUNK // held.itemsize, len(held))), *(1 for _ in held.shape[1:]))
        made = group.create_dataset(
            name,
            data=held.view(np.uint8) if is_truth else held,
            dtype=h5py.Datatype(h5py.h5t.NATIVE_B8) if is_truth else None,
            **({"chunks": chunks, **self.compression} if held.size > _SMALL and self.compression else {}),
        )
        self.written[id(values)] = values, made.name
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


def marks(file: Any) -> dict[str, Any]:
    """Return the marks of an open HDF5 file, and `VERSION`, that of deepdish's layout; None where it has none."""
    found = {name[len(_MARK) :]: _attribute(file, name) for name in file.attrs if name.startswith(_MARK)}
    return found | {"VERSION": _attribute(file, _VERSION) if _VERSION in file.attrs else None}


def read(file: Any, path: Path, unpickled: Callable[[bytes], Any] | None = None) -> dict[str, Any]:
    """Return the tree of an open HDF5 file.

    Args:
        file: an `h5py.File`.
        path: what it is called, for messages.
        unpickled: turns the pickles of old files into values; None refuses them.

    Raises:
        TreeError: the file does not follow the layout.
        FileError: it is compressed in a way that is not known here.
    """
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
        return self.known[node.name]

    def group(self, group: Any) -> Any:
        kind, _, size = (_attribute(group, "TITLE") if "TITLE" in group.attrs else "").partition(":")
        told = [name for name in group.attrs if name not in _SYSTEM and not name.startswith(_SKIPPED)]
        entries = {name: self.child(group, name) for name in group} | {name: _attribute(group, name) for name in told}
        if kind in ("list", "tuple"):
            return (list if kind == "list" else tuple)(entries[f"i{i}"] for i in range(int(size)))
        if kind == "nonetype":
            return None
        names = sorted(entries)
        order = group.attrs[_ORDER] if _ORDER in group.attrs else range(len(names))
        entries = {names[place]: entries[names[place]] for place in order}
        return entries if kind in ("dict", "") else Tagged(kind, entries)

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
        import h5py

        plist = node.id.get_create_plist()
        needed = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
        if all(map(h5py.h5z.filter_avail, needed)):
            return
        step = "Install the package that brings them: pip install hdf5plugin."
        with contextlib.suppress(ImportError):
            import hdf5plugin  # noqa: F401

            step = "hdf5plugin, which is here, does not bring it. Save the model again with compression='zlib'."
        if not all(map(h5py.h5z.filter_avail, needed)):
            raise FileError(
                f"{self.path} can't be read: it is compressed by blosc or another filter that HDF5 has not here. {step}"
            )


def _attribute(node: Any, name: str) -> Any:
    """Return an attribute as the Python value it stands for."""
    import h5py

    kind, value = node.attrs.get_id(name).get_type(), node.attrs[name]
    if kind.get_class() == h5py.h5t.STRING:
        coded = b"" if isinstance(value, h5py.Empty) else value.encode() if isinstance(value, str) else bytes(value)
        is_text = name == "TITLE" or kind.get_cset() == h5py.h5t.CSET_UTF8
        return coded.decode("utf-8", "surrogatepass") if is_text else coded
    if kind.get_class() == h5py.h5t.BITFIELD:
        return bool(value)
    return value.item() if isinstance(value, np.generic) else value
