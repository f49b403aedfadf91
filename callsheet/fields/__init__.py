"""Field rules: what of a row a destination gets. Applied between decoder and sink, in columns.

``literals`` reads values as a file writes them, ``columns`` makes the expression of one column,
``projection`` those of a table under one schema, ``decoder`` wraps a decoder with them, ``checks``
says before anything runs what is known to be wrong.
"""
