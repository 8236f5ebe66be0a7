"""`python -m bitsback.cli`."""

from .app import main

main()
