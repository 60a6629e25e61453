"""Settings of the processes that run the pages: how they draw and show. It is read by IPython, not imported."""

c = get_config()  # noqa: F821
c.IPKernelApp.log_level = 40
c.HistoryManager.enabled = False
c.InlineBackend.figure_formats = {"svg"}
c.InlineBackend.rc = {"figure.figsize": (6.4, 4.0), "figure.dpi": 100, "svg.fonttype": "path"}
