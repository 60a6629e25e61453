"""From formulas and what users say of factors to design matrices."""
