"""Images of data sets, and of whatever `compress` takes."""

from bitsback.sources.datasets import images_of
from bitsback.sources.read import read

__all__ = ["images_of", "read"]
