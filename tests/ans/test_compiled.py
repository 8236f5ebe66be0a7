"""The compiled loops do what NumPy does, bit for bit and error for error; without numba it does."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitsback.ans import codecs, compiled
from bitsback.ans.message import Message
from bitsback.errors import EmptyMessageError
from bitsback.tables import latent_grid, pixels

quick = settings(max_examples=100, deadline=None)
seeds = st.integers(0, 2**32 - 1)

if compiled.loops("ans") is None:
    pytest.skip("numba is not installed", allow_module_level=True)


def both(action, *arguments):
    """What an action gives, with compiled loops and without; each on copies of the messages."""
    found = []
    for enabled in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compiled, "enabled", enabled)
            own = [a.copy() if isinstance(a, Message) else a for a in arguments]
            try:
                result = action(*own)
            except (ValueError, EmptyMessageError) as error:
                result = error
        after = [
            (a.heads.tolist(), a.words.tolist(), a.lowest_words)
            for a in own
            if isinstance(a, Message)
        ]
        found.append((result, after))
    return found


def same(action, *arguments):
    """Check that both ways agree; return what they gave."""
    (first, one), (second, other) = both(action, *arguments)
    assert one == other
    if isinstance(first, Exception):
        assert type(first) is type(second)
        assert str(first) == str(second)
        assert getattr(first, "missing_bits", 0) == getattr(second, "missing_bits", 0)
    else:
        assert np.array_equal(first, second)
        assert np.asarray(first).dtype == np.asarray(second).dtype
    return first


@st.composite
def tables_and_rows(draw):
    """A table of cumulative frequencies, rows of it, its precision, and symbols, some bad."""
    rng = np.random.default_rng(draw(seeds))
    precision, symbols = draw(st.integers(0, 24)), draw(st.integers(1, 300))
    inner = rng.integers(0, 2**precision + 1, (draw(st.integers(1, 6)), symbols - 1))
    inner[rng.random(inner.shape) < draw(st.sampled_from([0.0, 0.3, 0.9]))] = 0
    cumulative = np.zeros((len(inner), symbols + 1), np.uint32)
    cumulative[:, 1:-1], cumulative[:, -1] = np.sort(inner, 1), 2**precision
    cumulative.flags.writeable = draw(st.booleans())
    rows = rng.integers(0, len(inner), draw(st.integers(0, 80)))
    cf = rng.integers(0, 2**precision, len(rows))
    found = (cumulative[rows] <= cf[:, None]).sum(1) - 1
    if len(rows) and draw(st.booleans()):
        found[rng.integers(len(rows))] = rng.integers(-1, symbols + 1)
    return cumulative, rows, precision, found


@st.composite
def messages(draw):
    """A message of 1..20 heads over a few words, perhaps too few."""
    heads = draw(st.integers(1, 20))
    message = Message.random(heads, draw(st.integers(0, 40)), draw(seeds))
    if draw(st.booleans()):
        message.tail.buffer = np.concatenate([message.words, np.zeros(50, np.uint32)])
    if draw(st.booleans()):
        message.tail.buffer.flags.writeable = False
    return message


@quick
@given(tables_and_rows(), messages(), st.booleans(), seeds)
def test_table_codecs(case, message, masked, seed):
    cumulative, rows, precision, symbols = case
    masks = None
    if masked:
        count = len(message.heads)
        size = -(-len(rows) // count) * count
        masks = np.random.default_rng(seed).integers(0, 2**31, size).astype(np.uint64)

    def codec():
        return codecs.categorical(cumulative, rows, precision, masks)

    def push(message):
        codec().push(message, symbols)
        return 0

    same(push, message)
    popped = same(lambda message: codec().pop(message)[1], message)
    if not isinstance(popped, Exception):
        assert np.all((popped >= 0) & (popped < cumulative.shape[1] - 1))
        after = message.copy()
        codec().push(codec().pop(after)[0], popped)
        assert after == message


@quick
@given(messages(), st.integers(0, 80), st.booleans(), seeds)
def test_pushes_of_intervals(message, n, scalar, seed):
    rng = np.random.default_rng(seed)
    precision = np.asarray(rng.integers(0, 25, () if scalar else n))
    freqs = rng.integers(1, 2**precision + 1, n)
    starts = rng.integers(0, 2**precision - freqs + 1, n)
    if n and rng.random() < 0.5:
        i = rng.integers(n)
        freqs[i] += rng.choice([0, -freqs[i]])
        starts[i] = rng.choice([-1, 2 ** np.broadcast_to(precision, n)[i] - freqs[i] + 1])

    def push(message):
        message.push(starts, freqs, precision)
        return 0

    same(push, message)


@pytest.mark.parametrize("precision", [11, 12, 13, 16, 24])
def test_quotients_at_their_edges(precision):
    """Heads about multiples of freq up to the largest, where a float may round to the next one."""
    rng = np.random.default_rng(precision)
    freqs = rng.integers(1, 2**precision + 1, 6000)
    most = 2 ** (63 - precision)
    quotients = np.where(rng.random(6000) < 0.5, most - 1, rng.integers(most // 2, most, 6000))
    heads = quotients * freqs + rng.choice([-1, 0, 1], 6000) * (freqs > 1)
    message = Message(heads.astype(np.uint64), np.empty(0, np.uint32))

    def push(message):
        message.push(np.zeros(6000, int), freqs, precision)
        return 0

    same(push, message)


@pytest.mark.parametrize("step", [1, 2])
def test_a_part_of_the_heads(step):
    table = np.array([[0, 1, 5, 16]], np.uint32)
    codec = codecs.substack(codecs.categorical(table, np.zeros(50, int), 4), slice(1, None, step))
    message = Message.random(9, 60, 0)
    popped = same(lambda message: codec.pop(message)[1], message)

    def push(message):
        codec.push(message, popped)
        return 0

    same(push, message)


def test_an_alphabet_too_large_for_small_guides():
    cumulative = np.arange(2**17 + 1, dtype=np.uint32)[None]
    cumulative.flags.writeable = False
    codec = codecs.categorical(cumulative, np.zeros(100, int), 17)
    same(lambda message: codec.pop(message)[1], Message.random(8, 99, 0))


def test_words_of_a_file_may_be_read_only_and_misaligned():
    data = b"x" + np.random.default_rng(0).bytes(400)
    words = np.frombuffer(data, "<u4", offset=1)
    codec = codecs.categorical(np.array([[0, 1, 16]], np.uint32), np.zeros(300, int), 4)
    for _ in range(2):
        message = Message(np.full(3, 1 << 40, np.uint64), words)
        symbols = same(lambda message: codec.pop(message)[1], message)
        codec.push(codec.pop(message)[0], symbols)
        assert np.array_equal(message.words, words)


@pytest.mark.parametrize("heads", [0, 5])
def test_a_missing_word_is_counted_in_its_block(heads):
    # five heads of 31 bits each lose 24 and need a word, of which there are two
    message = Message(np.full(5, 1 << 31, np.uint64), np.arange(2, dtype=np.uint32))
    codec = codecs.categorical(np.array([[0, 1, 2**24]], np.uint32), np.zeros(5 + heads, int), 24)
    error = same(lambda message: codec.pop(message)[1], message)
    assert isinstance(error, EmptyMessageError)


@quick
@given(seeds, st.integers(1, 9), st.booleans())
def test_rows_and_latents_of_the_grid(seed, size, extreme):
    rng = np.random.default_rng(seed)
    shape = (2, 3, size, 2)

    def gaussian():
        mean, scale = (2**31 - 1, 2**31 - 1) if extreme else (4096, 512)
        return latent_grid.Gaussian(
            rng.integers(-mean, mean + 1, shape).astype(np.int32),
            rng.integers(-scale, scale + 1, shape).astype(np.int32),
        )

    q, p = gaussian(), gaussian()
    width, d = rng.integers(-48, 33, (3, 1, 1)), rng.integers(0, 32, shape)
    k = rng.integers(-128, 128, shape)
    same(lambda: latent_grid.posterior_rows(q, p, width, d))
    same(lambda: latent_grid.latent(p, width, np.asfortranarray(k), d))


@quick
@given(seeds, messages(), st.sampled_from([1, 3]), st.integers(1, 4), st.booleans(), st.booleans())
def test_mixtures(seed, message, channels, components, gray, extreme):
    rng = np.random.default_rng(seed)
    mean, scale, coeff = (2**40, 2**40, 2**40) if extreme else (4096, 60, 4096)
    full, image = (2, components, channels, 3, 2), (2, channels, 3, 2)
    mixture = pixels.Mixture(
        "logistic",
        rng.choice([-600, 0, 3, 600], (2, components, 3, 2)),  # often equal
        rng.integers(-mean, mean, full),
        rng.integers(-scale, scale, full),
        rng.integers(-coeff, coeff, (2, components, channels * (channels - 1) // 2, 3, 2)),
        gray,
    )
    x = rng.choice([0, 255, *rng.integers(0, 256, 9)], image).astype(np.uint8)
    x = np.repeat(x[:, :1], channels, 1) if gray else x

    def push(message):
        return mixture.push(message, x)

    same(push, message)
    same(mixture.pop, message)


def test_masks_that_are_too_few_are_refused():
    codec = codecs.categorical(np.array([[0, 16]]), np.zeros(9, int), 4, np.zeros(9, np.uint64))
    assert isinstance(same(lambda message: codec.pop(message)[1], Message.empty(4)), ValueError)


@quick
@given(seeds, messages(), st.sampled_from([512, 10**6]))
def test_binary_pixels(seed, message, most):
    rng = np.random.default_rng(seed)
    pixel = pixels.Bernoulli(rng.integers(-most, most + 1, (2, 1, 3, 4)))
    x = rng.integers(0, 2, (2, 1, 3, 4)).astype(np.uint8)

    def push(message):
        return pixel.push(message, x)

    same(push, message)
    same(pixel.pop, message)


def test_what_is_no_level_is_refused():
    zeros = np.zeros((1, 1, 1, 1, 2), np.int64)
    mixture = pixels.Mixture("logistic", zeros[0], zeros, zeros, zeros[:, :, :0])
    for level in (-1, 256, 2**62):
        message = Message.empty(2)
        with pytest.raises(ValueError, match="support"):
            mixture.push(message, np.array([0, level]).reshape(1, 1, 1, 2))
        assert message == Message.empty(2)


WITHOUT = """
import sys
sys.modules["numba"] = None
import numpy as np
from bitsback import codecs, grid, pixels
from bitsback.ans import compiled
from bitsback.ans import Message
message = Message.random(8, 99, 0)
before = message.copy()
codec = codecs.categorical(np.array([[0, 3, 16]], np.uint32), np.zeros(100, int), 4)
_, symbols = codec.pop(message)
assert message != before and codec.push(message, symbols) == before
assert compiled.loops("ans") is None
"""

BROKEN = """
import sys, types
sys.modules["numba"] = types.ModuleType("numba")
""" + WITHOUT.split("\n", 3)[3]

UNWRITABLE = """
import sys
from numba.core import caching
for locator in caching.CacheImpl._locator_classes:
    def refuse(self):
        raise OSError("read-only")
    locator.ensure_cache_path = refuse
""" + WITHOUT.split("\n", 3)[3]

LIGHT = """
import sys
import bitsback
from bitsback import codecs
assert "numba" not in sys.modules
assert "torch" not in sys.modules
"""


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("code", "environment"),
    [
        (WITHOUT, {}),
        (BROKEN, {}),
        (UNWRITABLE, {}),
        (WITHOUT.split("\n", 3)[3], {"BITSBACK_KERNELS": "0"}),
        (WITHOUT.split("\n", 3)[3], {"NUMBA_DISABLE_JIT": "1"}),
        (LIGHT, {}),
    ],
    ids=["without numba", "broken", "no cache", "switched off", "jit disabled", "import alone"],
)
def test_in_a_process_of_its_own(code, environment):
    made = run(code, **environment)
    assert made.returncode == 0, made.stderr
    assert made.stderr == ""
