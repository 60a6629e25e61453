"""Models as files: a tree in HDF5, a model's state as a tree, and two files that change at once."""
