"""`python -m messenger`."""

from messenger.cli import main

main()
