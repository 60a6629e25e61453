"""The crossing: values there and back, what R says beside them, threads, and what R keeps to itself."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pymer4 import Lmer, load_dataset
from pymer4.data.columns import NA, Column, normalise
from pymer4.errors import DataError, OptionError, RError
from pymer4.rbridge import bridge, convert

pytestmark = pytest.mark.r

LARGEST = 2**31 - 1
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


def echo(value):
    """Return a value as it comes back from R."""
    reply = bridge.call("echo", value=value)
    assert (reply.warnings, reply.messages) == ((), ())
    return reply.value


def in_r(text):
    """Return what R makes of a line of its own language."""
    with bridge._lock:
        r = bridge._started()
        return r.values.from_r(r.interface.evalr(text))


@pytest.fixture(scope="module")
def sleepstudy():
    return load_dataset("sleepstudy")


# ------------------------------------------------------------------ single values, arrays, lists


LOGICAL = {True: [True], np.False_: [False], (True, False): [True, False]}
INTEGER = {3: [3], np.uint8(200): [200], LARGEST: [LARGEST], NA + 1: [NA + 1], (1, 2): [1, 2], range(3): [0, 1, 2]}
DOUBLE = {
    LARGEST + 1: [2.0**31], NA: [-(2.0**31)], np.uint64(2**63): [2.0**63], 0.5: [0.5], np.float16(0.25): [0.25],
    np.longdouble(0.75): [0.75], float("nan"): [np.nan], float("-inf"): [-np.inf], (1, 2.5): [1, 2.5],
    (np.float32(0.5), 2): [0.5, 2], (2**70, 1): [2.0**70, 1],
}  # fmt: skip


@pytest.mark.parametrize("kind, told", [(bool, LOGICAL), (np.int32, INTEGER), (float, DOUBLE)])
def test_numbers_there_and_back(kind, told):
    for value, back in told.items():
        for spelled in (value, list(value) if isinstance(value, tuple) else value):
            assert echo(spelled).dtype == kind, spelled
            np.testing.assert_array_equal(echo(spelled), back)


@pytest.mark.parametrize(
    "value, back",
    [
        (np.array([1, None], dtype=object), [1, np.nan]),
        (np.array([NA]), [-(2.0**31)]),
        (np.array([], dtype=np.int64), np.array([], np.int32)),
        (np.array([]), []),
        (np.array(3), np.array([3], np.int32)),
    ],
    ids=repr,
)
def test_odd_arrays_there_and_back(value, back):
    np.testing.assert_array_equal(echo(value), back, strict=True)


@pytest.mark.parametrize(
    "value",
    [None, {}, b"", b"\x00\xff", ["a"], [""], ["NA", None, ""], [None], [], ['"quoted" \\ `ticked`\n\t']],
    ids=repr,
)
def test_what_comes_back_as_it_went(value):
    assert echo(value) == value


@given(st.lists(st.none() | TEXT))
@example(["é", "中", "\U0001f600", "e\u0301"])
@settings(max_examples=50, deadline=None)
def test_any_text_there_and_back(values):
    assert echo(values) == values == echo(tuple(values))
    assert [echo(value) for value in values if value is not None] == [[v] for v in values if v is not None]


def test_lists_and_dicts_nest():
    found = echo({"a": [1, "x"], "b": {"c": None, "d e": ["y"]}, "": []})
    assert list(found) == ["a", "b", ""]
    assert found["a"] == [np.array([1]), ["x"]]
    assert found["b"] == {"c": None, "d e": ["y"]} and found[""] == []


@given(
    st.sampled_from(["<f8", ">f8", "<f4", "<f2", "<i4", ">i4", "i1", "u2", "<i8", ">i8", "<u8", "?"]),
    st.sampled_from(["C", "F"]),
    st.lists(st.integers(0, 4), min_size=2, max_size=3),
    st.integers(0, 3),
)
@settings(max_examples=50, deadline=None)
def test_any_array_keeps_its_shape(dtype, order, shape, cut):
    whole = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype).copy(order)
    for array in (whole, whole[::-1], whole[..., ::2], whole.T, whole[cut:]):
        found = echo(array)
        assert found.shape == array.shape
        np.testing.assert_array_equal(found, array)


def test_a_matrix_with_names_is_a_frame(sleepstudy):
    model = Lmer("Reaction ~ Days + (1 | Subject)", sleepstudy)
    model.fit(summarize=False)
    X = bridge.call("design_matrix", model=model._handle).value["X"]
    assert list(X.columns) == ["(Intercept)", "Days"] and X.shape == (180, 2)


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, np.array([["a", "b"]]), pd.Index([1]), [1, object()], {"a": {3}}],
    ids=["object", "set", "text in two dimensions", "Index", "in a list", "in a dict"],
)
def test_what_cannot_cross_is_a_type_error(value):
    with pytest.raises(TypeError, match="can't cross into R"):
        echo(value)
    assert echo(1) == 1


# ------------------------------------------------------------------ columns and frames


def back_from_r(column: Column):
    """Return what a column in normal form has to come back as."""
    if column.kind == "factor":
        codes = np.where(column.missing, -1, column.values - 1)
        return pd.Categorical.from_codes(codes, list(column.levels), ordered=column.ordered)
    if column.kind == "logical":
        truth = column.values == 1
        return np.where(column.missing, None, truth) if column.missing.any() else truth
    return column.values


def assert_comes_back(frame):
    found = echo(frame)
    assert len(found) == len(frame) and list(found.columns) == [str(name) for name in frame.columns]
    columns = {str(name): back_from_r(column) for name, column in normalise(frame, frame.columns).items()}
    expected = pd.DataFrame(columns, index=range(len(frame)))
    pd.testing.assert_frame_equal(found, expected, check_column_type=False)


GAPS = {
    "Int8": st.none() | st.integers(-128, 127),
    "Int64": st.none() | st.integers(-(2**63), 2**63 - 1),
    "UInt64": st.none() | st.integers(0, 2**64 - 1),
    "Float32": st.none() | st.floats(width=32),
    "Float64": st.none() | st.floats(),
    "boolean": st.none() | st.booleans(),
    "string": st.none() | TEXT,
    "object": st.none() | TEXT,
}
DENSE = {
    "int8": st.integers(-128, 127),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "uint64": st.integers(0, 2**64 - 1),
    ">i4": st.integers(-(2**31), 2**31 - 1),
    "float16": st.floats(width=16),
    "float32": st.floats(width=32),
    "float64": st.floats(),
    ">f8": st.floats(),
    "bool": st.booleans(),
}


@st.composite
def frames(draw):
    n_rows = draw(st.integers(0, 6))
    columns = {}
    for name in draw(st.lists(TEXT, unique=True, max_size=6)):
        kind = draw(st.sampled_from([*GAPS, *DENSE, "category"]))
        if kind == "category":
            found = st.lists(TEXT, unique=True, min_size=1) | st.lists(st.integers(), unique=True, min_size=1)
            categories = pd.Index(draw(found), dtype=object)
            codes = draw(st.lists(st.integers(-1, len(categories) - 1), min_size=n_rows, max_size=n_rows))
            columns[name] = pd.Categorical.from_codes(codes, categories, ordered=draw(st.booleans()))
        else:
            values = draw(st.lists((GAPS | DENSE)[kind], min_size=n_rows, max_size=n_rows))
            columns[name] = np.array(values, dtype=kind) if kind in DENSE else pd.array(values, dtype=kind)
    return pd.DataFrame(columns, index=range(n_rows))


@given(frames())
@example(pd.DataFrame())
@example(pd.DataFrame(index=range(3)))
@example(pd.DataFrame({"x": [NA, 2**31 - 1], "y": [NA + 1, 0]}))
@example(pd.DataFrame({"g": [None, None], "h": ["", None], "l": pd.array([None, None], dtype="boolean")}))
@settings(max_examples=150, deadline=None)
def test_any_frame_there_and_back(frame):
    assert_comes_back(frame)


def test_a_frame_of_slices_and_views():
    grid = np.arange(60.0).reshape(12, 5)
    frame = pd.DataFrame(grid[::-3, ::2]).set_axis(["a", "b", "c"], axis=1)
    frame["s"] = pd.arrays.SparseArray([0, 0, 1, 0])
    assert_comes_back(frame)
    assert_comes_back(frame.iloc[::-2])
    assert_comes_back(frame.set_index(pd.Index([7, 7, 1, 1])).loc[7])


def test_row_names_that_are_text_come_back():
    assert list(load_dataset("mtcars").index[:2]) == ["Mazda RX4", "Mazda RX4 Wag"]


@pytest.mark.parametrize("name", ["/etc/passwd", "../resources/sample_data", "sleepstudy.csv/x", "", "a b", "no", "é"])
def test_what_names_no_data_set_is_refused(name):
    with pytest.raises(OptionError, match="data set"):
        load_dataset(name)
    with pytest.raises(TypeError, match="has to be a text"):
        load_dataset([name])


def test_columns_cross_without_a_frame():
    columns = {
        "x": Column("double", np.array([0.5, np.nan])),
        "g": Column("factor", np.array([2, NA], np.int32), ("a", "b")),
    }
    found = echo(columns)
    pd.testing.assert_frame_equal(
        found, pd.DataFrame({"x": [0.5, np.nan], "g": pd.Categorical(["b", None], ["a", "b"])})
    )
    assert echo(columns["g"]).tolist() == ["b", np.nan]
    assert echo(pd.Series([1, 2], name="n")).tolist() == [1, 2]


def test_duplicate_columns_do_not_cross():
    with pytest.raises(DataError, match="2 columns named 'a'"):
        echo(pd.DataFrame([[1, 2]], columns=["a", "a"]))


def test_r_sees_the_kinds_that_were_meant():
    frame = pd.DataFrame({"double": [0.5, None], "integer": [1, 2], "logical": [True, False], "factor": ["b", None]})
    frame["ordered"] = pd.Categorical(["lo", "hi"], ["lo", "hi"], ordered=True)
    with bridge._lock:
        r = bridge._started()
        given = r.values.to_r(frame)
        kinds = {given.names[i]: r.values.from_r(column.rclass)[0] for i, column in enumerate(given)}
        gaps = r.values.from_r(r.interface.baseenv["is.na"](given))
    assert kinds == {name: "numeric" if name == "double" else name for name in frame}
    assert gaps.sum().to_dict() == {"double": 1, "integer": 0, "logical": 0, "factor": 1, "ordered": 0}


def test_a_value_is_copied_both_ways():
    given = np.array([1.0, 2.0])
    found = echo(given)
    given[0], found[1] = 8, 9
    np.testing.assert_array_equal(found, [1, 9])
    np.testing.assert_array_equal(given, [8, 2])


# ------------------------------------------------------------------ what R says beside the value


@pytest.fixture(scope="module")
def noise():
    rng = np.random.default_rng(5)
    return pd.DataFrame({"y": rng.normal(size=60), "x": rng.normal(size=60) * 1e7, "g": np.arange(60) % 6 + 1.0})


def test_answers_take_no_references_to_none():
    """Before Python 3.12 None is counted, and a process that runs out of references to it is aborted."""
    bridge.call("dataset", name="sleepstudy")
    before = sys.getrefcount(None)
    for _ in range(100):
        bridge.call("dataset", name="sleepstudy")
    assert sys.getrefcount(None) > before - 50


def test_warnings_and_messages_come_with_the_answer(noise):
    reply = bridge.call("fit_mixed", formula="y ~ x + (1 | g)", data=noise)
    assert any("very different scales" in text for text in reply.warnings)
    again = bridge.call("fit_mixed", formula="y ~ x + (1 | g)", data=noise)
    assert (again.warnings, again.messages) == (reply.warnings, reply.messages)
    flat = noise.assign(y=noise.y - noise.groupby("g").y.transform("mean"))
    reply = bridge.call("fit_mixed", formula="y ~ 1 + (1 | g)", data=flat)
    assert any("singular" in text for text in reply.messages)


def test_an_error_is_in_r_s_own_words(noise):
    with pytest.raises(RError) as caught:
        bridge.call("fit_mixed", formula="y ~ nowhere + (1 | g)", data=noise)
    error = caught.value
    assert error.message == "object 'nowhere' not found"
    assert (error.verb, error.formula) == ("fit_mixed", "y ~ nowhere + (1 | g)")
    assert str(error) == f"R stopped in fit_mixed: {error.message}\n  formula: {error.formula}"


@pytest.mark.parametrize("verb", ["no_such_verb", "mean", "lmer"])
def test_only_the_r_files_define_verbs(verb):
    with pytest.raises(RError, match=verb):
        bridge.call(verb, x=1)


def test_a_wrong_argument_is_r_s_error():
    with pytest.raises(RError, match="unused argument"):
        bridge.call("echo", value=1, more=2)


def test_nothing_is_printed_and_r_can_still_speak(capfd, noise):
    bridge.call("fit_mixed", formula="y ~ x + (1 | g)", data=noise)
    assert capfd.readouterr() == ("", "")
    in_r('cat("spoken\\n")')
    assert capfd.readouterr().out == "spoken\n"


# ------------------------------------------------------------------ what stays in R


def test_a_handle_goes_to_r_as_the_object_itself(sleepstudy):
    model = bridge.call("fit_mixed", formula="Reaction ~ Days + (1 | Subject)", data=sleepstudy).value["model"]
    assert isinstance(model, bridge.Handle)
    again = echo({"model": model})["model"]
    assert again.sexp.rid == model.sexp.rid


def test_an_object_is_let_go_under_the_lock_at_the_next_call():
    with bridge._lock:
        interface = bridge._started().interface
        freed, handle = interface.baseenv["new.env"](), bridge.Handle(interface.baseenv["new.env"]())
        handle.sexp["freed"] = freed
        finalizer = interface.evalr("function(e) assign('is', TRUE, envir = e$freed)")
        interface.baseenv["reg.finalizer"](handle.sexp, finalizer)
        echo(None)
        thread = threading.Thread(target=lambda held: held.clear(), args=([handle],))
        sexp = handle.sexp
        del handle
        thread.start()
        thread.join(10)
        assert not thread.is_alive(), "letting go of a handle waits for nobody"
        assert any(waiting is sexp for waiting in convert.retired)
        del sexp
    in_r("invisible(gc())")
    assert "is" not in freed
    echo(None)
    assert not convert.retired
    in_r("invisible(gc())")
    assert "is" in freed


def test_models_that_are_gone_take_no_memory(sleepstudy):
    preserved = bridge._started().interface._rinterface._R_PRESERVED

    def fits(n):
        for _ in range(n):
            Lmer("Reaction ~ Days + (1 | Subject)", sleepstudy).fit(summarize=False)
        echo(None)
        return len(preserved)

    before = fits(2)
    assert fits(4) == before


def test_the_global_environment_is_left_alone(sleepstudy):
    asked = ("ls(globalenv(), all.names = TRUE)", "search()")
    before = [in_r(text) for text in asked]
    model = Lmer("Reaction ~ Days + (Days | Subject)", sleepstudy)
    model.fit(conf_int="boot", n_boot=5, seed=1, summarize=False)
    model.predict(sleepstudy, use_rfx=True)
    model.simulate(2, seed=1)
    with pytest.raises(RError):
        bridge.call("no_such_verb")
    assert [in_r(text) for text in asked] == before


@pytest.mark.parametrize("seeded", [True, False])
def test_the_user_s_random_stream_is_left_alone(seeded, sleepstudy):
    model = Lmer("Reaction ~ Days + (1 | Subject)", sleepstudy)
    in_r(
        "invisible(set.seed(3, kind = 'Wichmann-Hill'))"
        if seeded
        else "suppressWarnings(rm(.Random.seed, envir = globalenv()))"
    )
    before = in_r("globalenv()$.Random.seed")
    model.fit(conf_int="boot", n_boot=5, seed=1, summarize=False)
    model.simulate(2, seed=1)
    with pytest.raises(RError):
        bridge.call("simulate_mixed", model=model._handle, n="two", conditional=True, seed=1)
    after = in_r("globalenv()$.Random.seed")
    np.testing.assert_array_equal(before, after)
    assert (before is None) == (not seeded)
    in_r("suppressWarnings(RNGkind('default', 'default', 'default'))")
    in_r("rm(.Random.seed, envir = globalenv())")


# ------------------------------------------------------------------ threads

FORMULAS = [
    "Reaction ~ Days + (Days | Subject)",
    "Reaction ~ 1 + (1 | Subject)",
    "log(Reaction) ~ Days + (1 | Subject)",
    "Reaction ~ factor(Days) + (1 | Subject)",
]


def test_threads_give_the_numbers_of_one_after_another(sleepstudy):
    def numbers(i):
        model = Lmer(FORMULAS[i % len(FORMULAS)], sleepstudy.iloc[i:])
        model.fit(summarize=False)
        drawn = model.simulate(2, seed=4)
        return pd.concat([model.coefs, pd.Series(model.predict(sleepstudy, use_rfx=True)), drawn.sum()])

    expected = [numbers(i) for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(numbers, [*range(8), *range(8)]))
    for got, wanted in zip(found, expected * 2, strict=True):
        pd.testing.assert_frame_equal(pd.DataFrame(got), pd.DataFrame(wanted), check_exact=True)


def test_an_error_in_one_thread_is_that_thread_s(sleepstudy):
    def wrong():
        with pytest.raises(RError, match="nowhere"):
            bridge.call("fit_mixed", formula="Reaction ~ nowhere + (1 | Subject)", data=sleepstudy)
        return True

    with ThreadPoolExecutor(4) as pool:
        right = [pool.submit(echo, i) for i in range(20)]
        assert all(pool.submit(wrong).result() for _ in range(5))
        assert [int(future.result()[0]) for future in right] == list(range(20))


@pytest.mark.parametrize(
    ("conf_int", "more"),
    [
        ("Wald", []),
        ("profile", ["profile_parts", *["profile_part"] * 6, "fixed_limits"]),
        ("boot", ["bootstrap_mixed"] * 2),
    ],
)
def test_a_fit_crosses_once_and_once_a_part_of_its_limits(monkeypatch, conf_int, more):
    """Draws and profiles come in parts, so that progress is told and Ctrl-C is heard between them."""
    model = Lmer("Reaction ~ Days + (Days | Subject)", load_dataset("sleepstudy"))
    crossed = []
    door = bridge._started().door

    def counted(verb, arguments):
        crossed.append(verb)
        return door(verb, arguments)

    monkeypatch.setattr(bridge, "_running", replace(bridge._started(), door=counted))
    model.fit(conf_int=conf_int, n_boot=4, seed=1, summarize=False, no_warnings=True)
    assert list(dict.fromkeys(crossed)) == list(dict.fromkeys(["fit_mixed", *more]))
    assert len(crossed) <= 1 + len(more)
