"""Random folders of odd files come back; `tests/fuzz/fuzz_folders.py` does more of them."""

import pytest

pytest.importorskip("imagecodecs")
fuzz_folders = pytest.importorskip("fuzz_folders")


@pytest.mark.filterwarnings("ignore::UserWarning")  # tifffile's, of strange shapes
def test_random_folders_come_back(tmp_path, build_model):
    model = build_model(channels=3, likelihood="logistic", mixtures=2)
    for number in range(60):
        fuzz_folders.check(number, 1, tmp_path / str(number), model)
