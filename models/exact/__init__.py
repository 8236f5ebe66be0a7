"""Convolutions of integers that prove, while they run, that nothing was rounded."""
