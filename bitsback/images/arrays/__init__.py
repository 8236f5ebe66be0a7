"""Arrays of integers as sets of images, and back."""
