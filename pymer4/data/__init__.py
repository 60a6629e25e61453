"""From the user's frame, formula and factors to arrays."""
