"""Sets of images and image files: modes, metadata, bit depth, classical codes."""
