"""Two treatments: do they differ, by how much, and are they as good as equal?

Student's own data (1908, Biometrika 6, 1-25): hours of sleep gained by ten people with each of two drugs.
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import numpy as np

from pymer4 import boot_func, cohens_d, correct_pvals, perm_test, tost_equivalence

first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]

print("test                        statistic        p")
ps = {}
for title, stat in (("two samples, Welch's t", "tstat"), ("pairs, t", "tstat-paired"), ("pairs, r", "pearsonr")):
    for how, n in (("parametric", 0), ("permutation", 10_000)):
        value, ps[title, how] = perm_test(second, first, stat, n_perm=n, seed=1)
        print(f"{title + ', ' + how:36s} {value:.3f}   {ps[title, how]:.4f}")

permuted = [p for (_, how), p in ps.items() if how == "permutation"]
print(f"\nThe three permutation p adjusted by Holm: {correct_pvals(permuted).round(4)}")

for paired in (False, True):
    d, (low, high) = cohens_d(second, first, paired=paired, n_boot=5000, seed=2)
    print(f"Cohen's d, {'pairs' if paired else 'two samples'}: {d:.2f} [{low:.2f}, {high:.2f}]")

share, limits = boot_func(second, first, lambda x, y: np.mean(x > y), paired=True, n_boot=2000, seed=3)
print(f"Share of people who slept longer with the second drug: {share:.2f} [{limits[0]:.2f}, {limits[1]:.2f}]")

found = tost_equivalence(second, first, -0.5, 0.5, paired=True, plot=True, seed=4)
answer = "yes" if found["In_Equivalence_Range"] else "no"
print(f"\nEquivalent to within half an hour? {answer}: p above -0.5 {found['lower']['p']:.4f}, ", end="")
print(f"p below 0.5 {found['upper']['p']:.4f}")

picture = Path(__file__).parent / "stats-equivalence.png"
found["axes"].figure.savefig(picture, dpi=150)
print(f"Picture: {picture}")
