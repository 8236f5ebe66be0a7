"""One chunk of a file, encoded and decoded."""
