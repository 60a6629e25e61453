"""Tables as papers and notebooks show them: texts in, Markdown, HTML, LaTeX and Word out."""
