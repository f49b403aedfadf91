"""``python -m callsheet.cli`` is ``callsheet``."""

from callsheet.cli import main

main()
