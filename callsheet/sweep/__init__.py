"""Deletes that nobody told: rows that a new snapshot no longer contains, or that a TRUNCATE took.

A snapshot tells what is there, never what has gone; a TRUNCATE tells that all has gone, but no row
by name. Both have a place in the source's log. Whatever a store still shows in a version below that
place is an orphan, and its delete is written into the log: an event like any other, which every
store and the audit read (docs/sweep.md).
"""
