"""The model classes."""

from pymer4.models.lmer import Lmer

__all__ = ["Lmer"]
