"""Integer probability tables: exact arithmetic, the latent grid, likelihoods of pixels."""
