"""What the commands read and write: outputs, standard input and output, and a summary of both."""
