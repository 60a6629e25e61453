"""From fits, draws and grids to standard errors, limits and p: each way of inference once."""
