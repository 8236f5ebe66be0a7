"""Side information: what the encoder finds in a batch's pixels and sends, to code them in less."""
