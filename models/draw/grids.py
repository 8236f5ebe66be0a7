"""The fixed-point grids of the network: how many fractional bits each kind of activation has.

One definition for the three arithmetics that run the same equations: floats with fake
quantisation (training), integers carried by floats (coding), int64 (the tests' reference).
"""

# Measured on a photo model before any fine-tuning: 7 bits of h cost 1.5 %, 6 of the gates 0.3 %,
# and a sixty-fourth in the channels' coefficients 0.7 %; these grids cost 0.15 % in all.
MEAN_BITS = 8  # of a latent's mean
Z_BITS = 6  # of a latent
PIXEL_BITS = 7  # x and eps, in units of 128 levels
HIDDEN_BITS = 9  # h of every LSTM, |h| <= 1
RESIDUAL_LIMIT = 4.0  # of the hidden maps of residual passes, and within their blocks
INNER_BITS = 8  # within a residual block, 0 to 1
GATE_BITS = 8  # what goes into sigmoid and tanh
GATE_LIMIT = 8.0
SQUASHED_BITS = 8  # what comes out of them
CELL_BITS = 10
CELL_LIMIT = 8.0
UP_LIMIT = 8.0  # the second decoder as it enters the first layer, on the hidden grid
CANVAS_BITS = 11  # 1/16 of a grey level
CANVAS_LIMIT = 16.0
LOG_SCALE_BITS = 6  # 1/64 octave: at 1/16, p's and q's rounding cost Omniglot 0.2 %
MEAN_LIMIT = 16.0
Z_LIMIT = 8.0
LOG_SCALE_RANGE = (-8.0, 3.0)  # octaves

# The canvas holds log-scales and logits divided by this, so that all its channels move alike.
CANVAS_GAIN = 4.0

EXACT_LIMIT = 2**24  # float32 counts exactly to here
WEIGHT_LIMIT = 2**15 - 1
