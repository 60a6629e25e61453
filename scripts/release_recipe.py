"""Write the conda recipe of a release beside its sdist, and have rattler-build read it.

    python scripts/release_recipe.py dist/pymer4-1.0.0.tar.gz

recipe/recipe.yaml builds the tree it lies in. A feedstock builds the sdist that is on PyPI: its address and its
checksum stand in the place of the path.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

RECIPE = Path(__file__).parents[1] / "recipe/recipe.yaml"
HERE = "source:\n  path: ..\n"
THERE = "source:\n  url: https://pypi.org/packages/source/p/pymer4/pymer4-${{{{ version }}}}.tar.gz\n  sha256: {}\n"


def release(recipe: str, sdist: bytes) -> str:
    """Return the recipe that builds an sdist from PyPI, without the words on top about the one in the tree."""
    if recipe.count(HERE) != 1:
        raise ValueError(f"{RECIPE} should name its source once, as {HERE!r}.")
    body = recipe[recipe.index("schema_version:") :]
    return body.replace(HERE, THERE.format(hashlib.sha256(sdist).hexdigest()))


def rendered(path: Path, python_min: str = "3.10") -> list[dict]:
    """Return what rattler-build makes of a recipe, as it does for conda-forge's oldest Python."""
    from rattler_build import Stage0Recipe, VariantConfig

    variants = Stage0Recipe.from_file(path).render(VariantConfig({"python_min": [python_min]}))
    return [variant.recipe.to_dict() for variant in variants]


def main(sdist: Path) -> None:
    """Write it into the folder `recipe` beside the sdist."""
    written = sdist.parent / "recipe" / "recipe.yaml"
    written.parent.mkdir(exist_ok=True)
    written.write_text(release(RECIPE.read_text("utf-8"), sdist.read_bytes()), "utf-8")
    package = rendered(written)[0]["package"]
    if sdist.name != f"{package['name']}-{package['version']}.tar.gz":
        raise ValueError(f"The recipe is of {package['name']} {package['version']}, the sdist is {sdist.name}.")
    print(f"{written}: for conda-forge, which asks for one thing more: extra, recipe-maintainers, GitHub names")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
