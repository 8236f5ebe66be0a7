"""`python -m bitsback.cli`."""

from .commands import main

main()
