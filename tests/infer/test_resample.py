"""Index sets of resamples: what they hold, and that they depend on the seed alone."""

from __future__ import annotations

import numpy as np
import pytest

from pymer4.errors import OptionError, count, permutations, workers
from pymer4.infer.resample import boot_counts, boot_rows, flips, folds, group_folds, shuffles, splits, times
from pymer4.work import seed_stream, whole_seed

pytestmark = pytest.mark.numeric

MAKERS = {
    "counts": boot_counts,
    "cluster counts": lambda n, k, seed: boot_counts(n, k, seed, np.arange(n) // 3),
    "shuffles": shuffles,
    "shuffles within": lambda n, k, seed: shuffles(n, k, seed, np.arange(n) % 4),
    "flips": flips,
    "rows": boot_rows,
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_replicate_depends_on_its_seed_and_place_alone(make):
    many = make(30, 8, 5)
    assert many.shape == (8, 30)
    assert np.array_equal(make(30, 3, 5), many[:3])
    assert not np.array_equal(make(30, 8, 6), many)
    assert len(np.unique(many, axis=0)) == 8


def test_counts_are_draws_with_replacement():
    counts = boot_counts(50, 4000, 1)
    assert counts.dtype == float and (counts.sum(axis=1) == 50).all()
    # Multinomial: mean 1, variance 1 − 1/n, each within 5 standard errors.
    assert np.abs(counts.mean(axis=0) - 1).max() < 5 / np.sqrt(4000)
    assert abs(counts.var() - 0.98) < 0.03
    assert abs((counts == 0).mean() - (1 - 1 / 50) ** 50) < 0.005


def test_counts_are_those_of_the_rows_drawn():
    rows = boot_rows(40, 6, 3)
    assert np.array_equal(boot_counts(40, 6, 3), times(rows, 40))
    assert np.array_equal(boot_rows(40, 6, np.random.default_rng(3)), rows)


def test_clusters_are_drawn_whole():
    clusters = np.array([0, 0, 1, 2, 2, 2, 1])
    counts = boot_counts(7, 500, 2, clusters)
    assert all((counts[:, clusters == c].min(axis=1) == counts[:, clusters == c].max(axis=1)).all() for c in range(3))
    assert (counts[:, [0, 2, 3]].sum(axis=1) == 3).all()


def test_shuffles_are_orders_each_as_likely():
    orders = shuffles(4, 24_000, 3)
    assert (np.sort(orders, axis=1) == np.arange(4)).all()
    _, times = np.unique(orders, axis=0, return_counts=True)
    assert len(times) == 24 and np.abs(times - 1000).max() < 5 * np.sqrt(1000)


def test_shuffles_stay_in_their_groups():
    groups = np.array([5, 2, 5, 2, 2, 9])
    orders = shuffles(6, 12_000, 3, groups)
    assert (np.sort(orders, axis=1) == np.arange(6)).all()
    assert (groups[orders] == groups).all()
    _, times = np.unique(orders, axis=0, return_counts=True)
    assert len(times) == 12 and np.abs(times - 1000).max() < 5 * np.sqrt(1000)


def test_flips_are_signs():
    signs = flips(20, 5000, 4)
    assert set(np.unique(signs)) == {-1.0, 1.0}
    assert np.abs(signs.mean(axis=0)).max() < 5 / np.sqrt(5000)


# ------------------------------------------------------------------ folds


@pytest.mark.parametrize(("n", "k"), [(10, 2), (11, 3), (7, 7), (100, 9)])
def test_folds_have_the_sizes_of_kfold_and_every_row_once(n, k):
    sizes = [len(part) for part in np.array_split(np.arange(n), k)]
    fold = folds(n, k, 4)
    assert fold.shape == (n,) and fold.dtype.kind == "i" and np.bincount(fold).tolist() == sizes
    assert np.array_equal(folds(n, k, 4), fold) and (n == k or not np.array_equal(folds(n, k, 5), fold))
    assert folds(n, k, None, shuffle=False).tolist() == np.repeat(np.arange(k), sizes).tolist()
    parts = splits(fold)
    assert len(parts) == k and np.array_equal(np.sort(np.concatenate([test for _, test in parts])), np.arange(n))
    assert all(np.array_equal(np.union1d(train, test), np.arange(n)) and len(train) < n for train, test in parts)


def test_every_row_is_as_likely_in_every_fold():
    rng = np.random.default_rng(8)
    found = np.stack([folds(5, 2, rng) for _ in range(4000)])
    assert np.abs((found == 0).mean(axis=0) - 0.6).max() < 5 * np.sqrt(0.24 / 4000)


@pytest.mark.parametrize("k", [2, 5, 12])
def test_folds_of_groups_keep_them_whole_and_even(k):
    sizes = np.random.default_rng(1).integers(1, 30, 12)
    codes = np.random.default_rng(2).permutation(np.repeat(np.arange(12), sizes))
    fold = group_folds(codes, k, 3)
    assert all(np.ptp(fold[codes == g]) == 0 for g in range(12))
    rows = np.bincount(fold, minlength=k)
    assert rows.min() > 0 and np.ptp(rows) <= sizes.max()
    assert np.array_equal(group_folds(codes, k, 3), fold)
    assert any(not np.array_equal(group_folds(codes, k, seed), fold) for seed in range(9))


def test_groups_of_one_size_come_in_even_numbers():
    fold = group_folds(np.repeat(np.arange(11), 4), 3, 7)
    assert sorted(np.bincount(fold)) == [12, 16, 16]


@pytest.mark.parametrize("k", [1, 0, -2, 2.5, "loo", True, None, 5])
def test_what_is_no_number_of_folds(k):
    for make in (lambda: folds(4, k, 1), lambda: group_folds(np.array([0, 1, 2, 3, 3]), k, 1)):
        with pytest.raises(OptionError, match="k="):
            make()


def test_more_seeds_begin_with_fewer():
    assert np.array_equal(seed_stream(7, 100)[:10], seed_stream(7, 10))
    assert (seed_stream(None, 4) != seed_stream(None, 4)).any()
    with pytest.raises(OptionError, match="seed=-1"):
        seed_stream(-1, 2)


def test_a_generator_is_a_seed_that_moves_on():
    rng = np.random.default_rng(3)
    first, second = seed_stream(rng, 4), seed_stream(rng, 4)
    assert (first != second).any()
    again = np.random.default_rng(3)
    assert np.array_equal(seed_stream(again, 4), first) and np.array_equal(seed_stream(again, 4), second)
    assert isinstance(whole_seed(np.random.default_rng(3)), int)
    assert (whole_seed(None), whole_seed(np.int64(4))) == (None, 4)


@pytest.mark.parametrize("seed", [-1, True, 1.5, "1", [1], np.random.RandomState(1)])
def test_what_is_no_seed(seed):
    with pytest.raises(OptionError, match=r"of at least 0, a numpy\.random\.Generator, or None"):
        whole_seed(seed)


@pytest.mark.parametrize("value", [1000, 1e3, np.float32(1000), np.int16(1000), np.float64(1e3)])
def test_whole_floats_are_counts(value):
    for found in (count("n", value), permutations(value), workers(value)):
        assert found == 1000 and type(found) is int


@pytest.mark.parametrize("value", [0.5, True, "3", np.nan, np.inf, None, np.True_, 3 + 0j])
def test_what_is_no_count(value):
    with pytest.raises(OptionError, match="n="):
        count("n", value)


def test_no_permutations():
    assert [permutations(value) for value in (None, False, np.False_, 0, 0.0)] == [0] * 5
    with pytest.raises(OptionError, match="permute=True"):
        permutations(True)
