"""The certificate of a linear mixed model: what the deviance engine sees at the theta where a fit ended."""

from __future__ import annotations

import numpy as np

from pymer4.data.mixed_design import NeedsR
from pymer4.errors import Pymer4Error
from pymer4.fit import mixed
from pymer4.fit.mixed_terms import Unsuited
from pymer4.models.convergence import Certificate
from pymer4.models.lmer_arrays import mixed_design
from pymer4.models.lmer_engine import engine_blocks, known_part_off
from pymer4.models.lmer_state import LmerState


def certificate(model: LmerState) -> Certificate:
    """Return the certificate of a fitted model, or why there is none.

    The gradient and the Hessian are those of the deviance (of the REML criterion) in lme4's theta, of the columns as
    they were given. What the deviance is held against is the least that the engine finds, from theta and from lme4's
    start.
    """
    theta = model._fit.parameters
    if not model._linear:
        return Certificate("the native engine takes linear models only")
    if theta is None:
        return Certificate("the file does not tell theta; fit the model again")
    try:
        design = mixed_design(model, *model._sample())
        reml, y = model._options.REML, known_part_off(design)
        blocks = engine_blocks(design, reml)
        here = mixed.at(blocks, y, theta).deviance[0]
        least = min(mixed.fit(blocks, y, start).deviance[0] for start in (theta, None))
        plain = engine_blocks(design, reml, centred=False)
        found = mixed.at(plain, y, theta)
    except (NeedsR, Pymer4Error) as error:
        return Certificate(error.why if isinstance(error, Unsuited) else str(error).rstrip("."))
    if not np.isfinite([here, *found.gradient[0], *found.hessian.ravel()]).all():
        return Certificate("near this theta the deviance is lost in rounding")
    # Without centring a row of Lambda is that of the scaled columns times one number.
    unit = np.concatenate([np.diagonal(T)[np.triu_indices(len(T))[1]] for T in plain.scales])
    H = found.hessian[0] / np.outer(unit, unit)
    return Certificate("", found.gradient[0] / unit, np.linalg.eigvalsh(H), float(here - least))
