"""Models as files: the HDF5 layout, frames in it, and two files that are written as one."""
