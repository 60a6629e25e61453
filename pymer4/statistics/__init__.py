"""The functions behind `pymer4.stats`."""
