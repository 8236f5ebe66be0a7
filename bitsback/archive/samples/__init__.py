"""What a sample of a set tells beforehand: the size and the time, and which model suits."""
