"""The latent grid."""

from bitsback.tables.latent_grid import (
    NIL,
    Gaussian,
    continuous_kl_bits,
    dither,
    kl_bits,
    latent,
    nearest,
    posterior_rows,
    prior_rows,
    scale,
)

__all__ = [
    "NIL",
    "Gaussian",
    "continuous_kl_bits",
    "dither",
    "kl_bits",
    "latent",
    "nearest",
    "posterior_rows",
    "prior_rows",
    "scale",
]
