"""The bytes of a file; nothing here knows a network."""
