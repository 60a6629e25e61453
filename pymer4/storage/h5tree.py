"""Plain trees in HDF5, in the layout that deepdish 0.3 gives them.

| Python | HDF5 |
| --- | --- |
| dict, list, tuple, None | group, told apart by its `TITLE`: `dict:<n>`, `list:<n>`, `tuple:<n>`, `nonetype:` |
| str, bytes, bool, int, float | attribute of the group |
| ndarray of numbers, booleans, text or bytes | dataset |
| an array that occurred before, a second None | soft link |

deepdish pickles what has no place in this table; here it gets one, which old readers see as a dict:

| Python | `TITLE` of the group | entries |
| --- | --- | --- |
| `Tagged(kind, entries)` | `<kind>:` | the entries |
| int beyond 64 bits | `int:` | `digits` |
| text that is long or holds NUL, bytes | `str:`, `bytes:` | `data`, a uint8 array |
| complex | `complex:` | `real`, `imag` |
| list or tuple of 256 and more scalars of one type | `array:` | `values`, `type`, `is_tuple` |
| dict of 256 and more scalars | `items:` | `keys`, `values` |

A key that HDF5 or PyTables has other uses for stands in a group `__pair<i>` with the entries `key` and `value`,
which deepdish reads as what it is. The order of a dict's keys is kept in an attribute that deepdish skips.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pymer4.errors import FileError

SKIPPED = "DEEPDISH_IO"
"""Attributes that begin so are no entries; ours among them carry `MARK`."""

MARK = f"{SKIPPED}_PYMER4_"
ORDER = f"{MARK}ORDER"


_SHRUNK = 1100
"""No compression makes data smaller by more: deflate reaches 1,032."""

SYSTEM = ("CLASS", "TITLE", "VERSION", "FILTERS", "FLAVOR", "PYTABLES_FORMAT_VERSION", "NROWS", "EXTDIM")


class TreeError(ValueError):
    """A value that has no place in the layout, or a file that does not follow it; says where."""


@dataclass(frozen=True, slots=True)
class Tagged:
    """A dict of entries with the name of the kind of thing it stands for."""

    kind: str
    entries: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """An array whose values stand elsewhere in the tree; stored as a virtual dataset.

    Attributes:
        shape: its shape.
        pieces: (selection in this array, the array that holds the values, selection there), each selection a tuple.
        fill: value of what no piece covers.
    """

    shape: tuple[int, ...]
    pieces: tuple[tuple[tuple, np.ndarray, tuple], ...]
    fill: float = 0.0


def plain_scalar(value: Any) -> Any:
    """Return a NumPy scalar as the Python value it is; other values as they are."""
    if isinstance(value, np.generic) and not isinstance(value, (np.datetime64, np.timedelta64, np.void)):
        return value.item()
    return value


def place(group: Any, name: str) -> str:
    """Return the path of an entry of a group."""
    return f"{group.name.rstrip('/')}/{name}"


def marks(file: Any) -> dict[str, Any]:
    """Return the marks of an open HDF5 file, and `VERSION`, that of deepdish's layout; None where it has none."""
    names = [name for name in file.attrs if name.startswith(MARK) and name != ORDER]
    found = {name[len(MARK) :]: _attribute(file, name) for name in names}
    version = f"{SKIPPED}_VERSION"
    return found | {"VERSION": _attribute(file, version) if version in file.attrs else None}


def read(file: Any, unpickled: Callable[[bytes], Any] | None = None) -> dict[str, Any]:
    """Return the tree of an open HDF5 file.

    Args:
        file: an `h5py.File`.
        unpickled: turns the pickles of old files into values; None refuses them.

    Raises:
        TreeError: the file does not follow the layout.
    """
    return _Reader(unpickled).group(file["/"])


def read_model(file: Any, path: Path, unpickled: Callable[[bytes], Any] | None) -> dict[str, Any]:
    """Return the tree of a model's file.

    Args:
        file: an open `h5py.File`.
        path: what the file is called, for the messages.
        unpickled: as in `read`.

    Raises:
        FileError: it is compressed in a way that is not known here, or not the file of a model.
    """
    try:
        tree = read(file, unpickled)
    except OSError as error:
        if not _lacks_filter(file):
            raise
        step = "Install the package that brings them: pip install hdf5plugin."
        with contextlib.suppress(ImportError):
            import hdf5plugin  # noqa: F401

            step = "hdf5plugin, which is here, does not bring it. Save the model again with compression='zlib'."
        if _lacks_filter(file):
            raise FileError(
                f"{path} can't be read: it is compressed by blosc or another filter that HDF5 has not here. {step}"
            ) from error
        tree = read(file, unpickled)
    if not {"simple_atts", "data_atts"} <= tree.keys():
        raise FileError("it lacks the groups simple_atts and data_atts")
    return tree


def _lacks_filter(file: Any) -> bool:
    """Whether a dataset of an open HDF5 file is compressed by a filter that is not there."""
    import h5py

    def look(_: str, node: Any) -> bool | None:
        if not isinstance(node, h5py.Dataset):
            return None
        plist = node.id.get_create_plist()
        known = all(h5py.h5z.filter_avail(plist.get_filter(i)[0]) for i in range(plist.get_nfilters()))
        return None if known else True

    return bool(file.visititems(look))


class _Reader:
    def __init__(self, unpickled: Callable[[bytes], Any] | None):
        self.unpickled = unpickled
        self.known: dict[str, Any] = {}

    def node(self, node: Any) -> Any:
        if node.name not in self.known:
            self.known[node.name] = None
            self.known[node.name] = self.group(node) if hasattr(node, "keys") else self.array(node)
        return self.known[node.name]

    def child(self, group: Any, name: str) -> Any:
        import h5py

        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise TreeError(f"{place(group, name)} points to another file.")
        if isinstance(link, h5py.SoftLink):
            return self.node(group.file[link.path])
        return self.node(group[name])

    def group(self, group: Any) -> Any:
        title = _attribute(group, "TITLE") if "TITLE" in group.attrs else ""
        kind, _, size = title.partition(":")
        entries = {name: self.child(group, name) for name in group}
        for name in group.attrs:
            if name not in SYSTEM and not name.startswith(SKIPPED):
                entries[name] = _attribute(group, name)
        if kind in ("list", "tuple"):
            return (list if kind == "list" else tuple)(entries[f"i{i}"] for i in range(int(size)))
        if kind == "nonetype":
            return None
        entries = _in_order(group, entries)
        return entries if kind in ("dict", "") else _untagged(kind, entries)

    def array(self, node: Any) -> Any:
        import h5py

        if "PSEUDOATOM" in node.attrs:
            return self.pickled(node)
        if node.external:
            raise TreeError(f"{node.name} takes its values from another file.")
        if node.is_virtual:
            return self.virtual(node)
        _require_room(node)
        values = node[()]
        if "zeroarray_dtype" in node.attrs:
            if np.prod(values, dtype=float) > 0:
                raise TreeError(f"{node.name} has values that stand nowhere.")
            return np.zeros(tuple(values), dtype=bytes(node.attrs["zeroarray_dtype"]).decode())
        if "strtype" in node.attrs and bytes(node.attrs["strtype"]) == b"unicode":
            return values.view(f"<U{int(node.attrs['itemsize'])}")
        return values.astype(bool) if node.id.get_type().get_class() == h5py.h5t.BITFIELD else values

    def virtual(self, node: Any) -> np.ndarray:
        """Return an array from those that it shows, which are in memory anyway."""
        values = np.full(node.shape, node.fillvalue, dtype=node.dtype)
        sources: dict[str, np.ndarray] = {}
        for piece in node.virtual_sources():
            if piece.file_name != ".":
                raise TreeError(f"{node.name} takes its values from another file.")
            if piece.dset_name not in sources:
                sources[piece.dset_name] = self.node(node.file[piece.dset_name])
            here = values[_selected(piece.vspace)]
            here[...] = sources[piece.dset_name][_selected(piece.src_space)].reshape(here.shape)
        return values

    def pickled(self, node: Any) -> Any:
        if self.unpickled is None:
            raise TreeError(f"{node.name} holds a pickle, which files of this version never do.")
        return self.unpickled(bytes(node[0]))


def _require_room(node: Any) -> None:
    """Refuse an array that is larger than what the file holds of it can be, before memory is taken."""
    if node.nbytes > _SHRUNK * node.id.get_storage_size():
        raise TreeError(f"{node.name} says that it has {node.nbytes} bytes, which the file can't hold.")


def _selected(space: Any) -> tuple[slice, ...]:
    """Return a selection of HDF5 as slices."""
    import h5py

    if space.get_select_type() != h5py.h5s.SEL_HYPERSLABS:
        return tuple(slice(None) for _ in space.shape)
    starts, strides, counts, blocks = space.get_regular_hyperslab()
    if any(block != 1 and count != 1 for count, block in zip(counts, blocks, strict=True)):
        raise TreeError("a virtual dataset in it shows blocks.")
    sizes = [count * block for count, block in zip(counts, blocks, strict=True)]
    steps = [stride if count > 1 else 1 for stride, count in zip(strides, counts, strict=True)]
    return tuple(slice(a, a + n * step, step) for a, n, step in zip(starts, sizes, steps, strict=True))


def _attribute(node: Any, name: str) -> Any:
    import h5py

    kind = node.attrs.get_id(name).get_type()
    value = node.attrs[name]
    if kind.get_class() == h5py.h5t.STRING:
        coded = b"" if isinstance(value, h5py.Empty) else value.encode() if isinstance(value, str) else bytes(value)
        return coded.decode() if name == "TITLE" or kind.get_cset() == h5py.h5t.CSET_UTF8 else coded
    return bool(value) if kind.get_class() == h5py.h5t.BITFIELD else plain_scalar(value)


def _in_order(group: Any, entries: dict[str, Any]) -> dict[Any, Any]:
    pairs = sorted((name for name in entries if name.startswith("__pair")), key=lambda name: int(name[6:]))
    if pairs:
        return {_key(entries[name]["key"]): entries[name]["value"] for name in pairs}
    names = sorted(entries)
    if ORDER in group.attrs:
        names = [names[place] for place in group.attrs[ORDER]]
    return {name: entries[name] for name in names}


def _key(value: Any) -> Any:
    return tuple(map(_key, value)) if isinstance(value, (list, tuple)) else value


def _untagged(kind: str, entries: dict[str, Any]) -> Any:
    if kind == "complex":
        return complex(entries["real"], entries["imag"])
    if kind == "int":
        return int(entries["digits"])
    if kind in ("str", "bytes"):
        data = entries["data"].astype(np.uint8).tobytes()
        return data if kind == "bytes" else data.decode("utf-8", "surrogatepass")
    if kind == "array":
        values = entries["values"].tolist()
        return tuple(values) if entries["is_tuple"] else values
    if kind == "items":
        return dict(zip(entries["keys"], entries["values"], strict=True))
    return Tagged(kind, entries)
