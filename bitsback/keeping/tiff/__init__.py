"""TIFF files: their tags, and those whose samples lie in compressed pieces."""
