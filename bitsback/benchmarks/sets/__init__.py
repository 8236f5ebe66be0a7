"""Measurements of the sets whose figures the documentation has."""
