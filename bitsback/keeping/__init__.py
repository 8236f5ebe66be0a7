"""What comes back of a file: its bytes from its pixels, proven when it goes in, or as they are."""
