"""Where the audit's files are: one port, and what stands behind it.

Import the module of the store that is configured, not all of them: each brings its own client.
"""
