"""One regression a group, and tests over groups."""

from pymer4 import Lm2, load_dataset

data = load_dataset("sample_data")
model = Lm2("DV ~ IV1 + IV3", data, group="Group")
model.fit()

print("\nSign flips in the place of t:")
model.fit(permute=2000, seed=1, summarize=False)
print(model.coefs.round(3))

print("\nPartial correlations (Fisher z):")
model.fit(to_corrs="partial", summarize=False)
print(model.coefs.round(3))
