"""Settings of the processes that run the pages: how they draw and show. It is read by IPython, not imported."""

c = get_config()  # noqa: F821
c.IPKernelApp.log_level = 40
c.HistoryManager.enabled = False
c.InlineBackend.figure_formats = {"svg"}
c.InlineBackend.rc = {"figure.figsize": (6.4, 4.0), "figure.dpi": 100, "svg.fonttype": "path"}
# A cell that ends in a plot shows the picture, not the name of the object that was drawn on.
c.InteractiveShellApp.exec_lines = [
    "get_ipython().display_formatter.ipython_display_formatter"
    ".for_type_by_name('matplotlib.axes._axes', 'Axes', lambda axes: None)",
]
