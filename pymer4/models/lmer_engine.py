"""The deviance engine under a gaussian `Lmer`: from its arrays to cross-products."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import numpy as np

from pymer4.data.mixed_design import MixedDesign
from pymer4.fit.mixed_blocks import Blocks, blocks
from pymer4.fit.mixed_terms import Bar
from pymer4.models.lmer_arrays import mixed_design
from pymer4.models.lmer_state import LmerState


def engine_blocks(of: LmerState | MixedDesign, reml: bool, centred: bool = True) -> Blocks:
    """Return the cross-products of a model, or of its arrays, for `fit.mixed`.

    Args:
        of: a model with the options of its fit, or what `mixed_design` returned.
        reml: the criterion.
        centred: as `fit.mixed_blocks.blocks` takes it.

    Raises:
        NeedsR: the engine in R is to judge the model.
        Unsuited: a structure that would need too much memory or time.
    """
    design = of if isinstance(of, MixedDesign) else mixed_design(of, *of._sample())
    return blocks(design.X, engine_bars(design), design.weights, reml, centred)


def engine_bars(design: MixedDesign) -> list[Bar]:
    """Return the random-effects terms as the engine has them."""
    return [Bar(bar.Z, bar.codes, len(bar.levels)) for bar in design.bars]


def bar_groups(design: MixedDesign) -> Iterator[str]:
    """Yield the grouping factor of each term; as R's make.unique, those after the first of it have a number."""
    seen: dict[str, Iterator[int]] = {}
    for bar in design.bars:
        number = next(seen.setdefault(bar.group, count()))
        yield f"{bar.group}.{number}" if number else bar.group


def known_part_off(design: MixedDesign) -> np.ndarray:
    """Return the outcome less the offset, shape (n,)."""
    assert design.y is not None
    return design.y if design.offset is None else design.y - design.offset
