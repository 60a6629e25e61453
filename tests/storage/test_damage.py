"""Arguments of `save_model` and `load_model`, and what is told of files that are damaged or of another kind."""

from __future__ import annotations

import contextlib
import copy
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from kept import alike, alike_models, legacy_files, mixed, quiet, rewritten, saved, trial

from pymer4 import Lmer, load_model, save_model
from pymer4.errors import DataError, FileError, MissingFileError, ModelWarning, OptionError
from pymer4.rbridge import bridge
from pymer4.storage import pair, tree

pytestmark = pytest.mark.r


# ------------------------------------------------------------------ compression

SHUFFLE, ZLIB = (2, (8,)), (1, (4,))


def filters_of(path: Path) -> set[tuple]:
    found = set()

    def look(_: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            plist = node.id.get_create_plist()
            found.update(plist.get_filter(i)[0::2][:2] for i in range(plist.get_nfilters()))

    with h5py.File(path) as file:
        file.visititems(look)
    return found


@pytest.mark.parametrize(
    "options, expected",
    [({}, {SHUFFLE, ZLIB}), ({"complevel": 9}, {SHUFFLE, (1, (9,))}), ({"complevel": 0}, set()),
     ({"compression": None}, set()), ({"compression": "zlib", "complevel": 1}, {SHUFFLE, (1, (1,))})],
)  # fmt: skip
def test_compression(tmp_path, options, expected):
    back = saved(mixed("slopes"), tmp_path / "x.h5", **options)
    assert filters_of(tmp_path / "x.h5") == expected
    alike(back.data, mixed("slopes").data)


def test_blosc_where_its_package_is_and_is_not(tmp_path, monkeypatch):
    import hdf5plugin

    alike_models(mixed("slopes"), saved(mixed("slopes"), tmp_path / "x.h5", compression="blosc"))
    assert any(number == hdf5plugin.BLOSC_ID for number, _ in filters_of(tmp_path / "x.h5"))
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    with pytest.warns(ModelWarning, match=r"'blosc' needs the package hdf5plugin \(pip install.*by zlib") as told:
        save_model(mixed("slopes"), tmp_path / "y.h5", compression="blosc")
    assert len(told) == 1 and told[0].filename == __file__ and filters_of(tmp_path / "y.h5") == {SHUFFLE, ZLIB}


@pytest.mark.parametrize("plugin", [True, False])
def test_a_filter_that_is_missing_is_named(tmp_path, monkeypatch, plugin):
    if not plugin:
        monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    (tmp_path / "x.h5").write_bytes(tree.write({"state": {}}, {}))
    with rewritten(tmp_path / "x.h5") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((10,))
        plist.set_filter(305, h5py.h5z.FLAG_OPTIONAL, ())  # lzo, which h5py has not
        space = h5py.h5s.create_simple((10,))
        made = h5py.h5d.create(file["state"].id, b"odd", h5py.h5t.IEEE_F64LE, space, plist)
        made.write_direct_chunk((0,), b"packed somehow")
    with pytest.raises(FileError, match=r"x\.h5.*another filter that HDF5 has not here.*hdf5plugin.*='zlib'"):
        load_model(tmp_path / "x.h5")


# ------------------------------------------------------------------ what can't be saved


@pytest.mark.parametrize(
    "options, error, told",
    [
        ({"compression": "lzo"}, OptionError, "'zlib', 'blosc', None"),
        ({"compression": True}, OptionError, "'zlib', 'blosc', None"),
        ({"complevel": 10}, OptionError, "from 0 to 9"),
        ({"complevel": "9"}, OptionError, "complevel='9'"),
        ({"complvl": 3}, TypeError, "complevel"),
        ({"mode": "w"}, TypeError, "no argument 'mode'"),
    ],
)
def test_options_out_of_range_are_refused(tmp_path, options, error, told):
    with pytest.raises(error, match=told):
        save_model(mixed("slopes"), tmp_path / "x.h5", **options)
    assert not list(tmp_path.iterdir())


class Mine(Lmer):
    pass


@pytest.mark.parametrize("what", [None, "model", trial, Lmer, Mine], ids=["None", "text", "code", "class", "own"])
def test_what_is_no_model_of_ours_is_refused(tmp_path, what):
    what = what("y ~ x + (1 | g)", trial()) if what is Mine else what
    with pytest.raises(OptionError, match=r"takes .*Lmer.* models, not a.*pickle and joblib"):
        save_model(what, tmp_path / "x.h5")
    assert type(pickle.loads(pickle.dumps(what))) is type(what)


def test_what_no_file_holds_is_named_and_nothing_is_written(tmp_path):
    model = copy.copy(mixed("slopes"))
    model.note = [1, {"deep": print}]
    save_model(mixed("crossed"), tmp_path / "x.h5")
    with pytest.raises(DataError, match=r"its attribute \.note\[1\]\['deep'\] holds a .*delete it.*pickle or joblib"):
        save_model(model, tmp_path / "x.h5")
    odd = Lmer("y ~ x + (1 | g)", trial().assign(odd=[[1]] * len(trial())))
    with pytest.raises(DataError, match="Column 'odd' of data holds a value of type list"):
        save_model(odd, tmp_path / "x.h5")
    alike(load_model(tmp_path / "x.h5").coefs, mixed("crossed").coefs)


@pytest.mark.parametrize("name", ["a\0b.h5", "a" * 300 + ".h5", "a" * 248 + ".h5"])
def test_names_that_no_file_can_have(tmp_path, name):
    for function in (load_model, lambda path: save_model(mixed("slopes"), path)):
        with pytest.raises(FileError):
            function(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingFileError, match=r"There is no file .*x\.h5") as told:
        load_model(tmp_path / "x.h5")
    assert isinstance(told.value, FileNotFoundError)
    (tmp_path / "y.h5").mkdir()
    with pytest.raises(FileError, match="is a directory"):
        load_model(tmp_path / "y.h5")
    for function in (load_model, lambda path: save_model(mixed("slopes"), path)):
        with pytest.raises(OptionError, match=r"has to end in \.h5 or \.hdf5; .*x\.rds\.h5"):
            function(tmp_path / "x.rds")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "x.h5")
        with pytest.raises(FileError, match="no regular file"):
            load_model(tmp_path / "x.h5")


# ------------------------------------------------------------------ what is wrong with a file


@pytest.fixture
def good(tmp_path: Path) -> Path:
    save_model(mixed("slopes"), tmp_path / "x.h5")
    return tmp_path / "x.h5"


@pytest.mark.parametrize("share", np.linspace(0, 0.999, 8))
def test_a_truncated_file_and_a_flipped_bit_are_told(good, share):
    content = good.read_bytes()
    place = int(share * len(content))
    flipped = content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :]
    for damaged in (content[:place], flipped):
        good.write_bytes(damaged)
        with pytest.raises(
            FileError, match=rf"{good} (can't be read as a model.*backup|is no model file: it is not HDF5)"
        ):
            load_model(good)


def test_a_seal_that_was_cut_off_is_told(good):
    good.write_bytes(good.read_bytes().split(pair._SEAL)[0])
    with pytest.raises(FileError, match="check sum is missing"):
        load_model(good)


@pytest.mark.parametrize("content", [b"nonsense", b"\x89PNG\r\n\x1a\n" + b"0" * 100, None])
def test_a_file_of_another_kind_is_named(tmp_path, content):
    if content is None:
        with h5py.File(tmp_path / "x.h5", "w") as file:
            file["x"] = [1, 2]
    else:
        (tmp_path / "x.h5").write_bytes(content)
    with pytest.raises(FileError, match=r"x\.h5 is no model file: it is not HDF5, or not in the layout of one"):
        load_model(tmp_path / "x.h5")


def vast(file: h5py.File) -> None:
    file["state"].create_dataset("vast", shape=(2**44,), dtype="f8", chunks=(2**20,))


def nowhere(file: h5py.File) -> None:
    made = file["state"].create_dataset("vast", data=np.array([2**44]))
    made.attrs["zeroarray_dtype"] = np.bytes_(b"f8")


def set_to(name: str, value: Any, group: str = "/") -> Any:
    return lambda file: file[group].attrs.__setitem__(name, value)


@pytest.mark.parametrize(
    "change, told",
    [
        (set_to("DEEPDISH_IO_VERSION", 13), r"in a format that pymer4 .* does not know\. Upgrade"),
        (set_to("format", 2), r"written by pymer4 .* in a format that pymer4 .* does not know\. Upgrade"),
        *[(set_to("model_class", name), "a model of class") for name in ("Lasso", "Model", "", "__all__")],
        (lambda file: file.__delitem__("state"), "can't be read as a model"),
        (set_to("TITLE", "list:0", "state"), "can't be read as a model"),
        (lambda file: file.__delitem__("state/coefs/values"), "can't be read as a model"),
        (lambda file: file.__delitem__("state/data"), "can't be read as a model"),
        (set_to("is", "nonsense", "state/coefs"), "holds a 'nonsense' of a form that this version does not know"),
        (vast, "vast.*which the file can't hold"),
        (nowhere, "vast.*values that stand nowhere"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(good, change, told):
    with rewritten(good) as file:
        change(file)
    with pytest.raises(FileError, match=rf"x\.h5.*{told}"):
        load_model(good)


@pytest.mark.parametrize("kind", ["lm", "lm2", "lmer_simple"])
def test_damaged_files_of_07_are_one_error(tmp_path, kind):
    """Files of that release have no check sum: what is read of them is right, or one error."""
    h5 = legacy_files(tmp_path, kind)[0]
    content, rng = h5.read_bytes(), np.random.default_rng(7)
    for _ in range(40):
        damaged = bytearray(content)
        for place in rng.integers(0, len(damaged), 4):
            damaged[place] = rng.integers(256)
        h5.write_bytes(damaged if rng.random() < 0.8 else damaged[: rng.integers(9, len(damaged))])
        with contextlib.suppress(FileError), quiet():
            load_model(h5)


def test_an_r_object_that_is_no_model_is_named(good):
    robj = bridge.call("pack_model", model=[1.0, 2.0]).value["bytes"]
    content = good.read_bytes().split(pair._SEAL)[0]
    good.write_bytes(pair.sealed(content, robj))
    pair.partner(good).write_bytes(robj)
    with pytest.raises(Exception, match="the object is a numeric, not a model of lme4"):
        load_model(good).predict(trial())
