"""Images of any size as equal tiles."""
