"""`python -m bitsback.cli`."""

from .main import main

main()
