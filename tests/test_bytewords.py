"""Words are read from any byte on."""

import numpy as np
import pytest

from scripts.bytewords import WORD_BITS, ByteWords


@pytest.mark.parametrize("n_bytes", range(20))
@pytest.mark.parametrize("n_before", [0, 3, 8])
def test_words_are_the_eight_bytes_from_a_place_on(n_bytes: int, n_before: int) -> None:
    content = bytes(range(200, 200 + n_bytes))
    places = np.arange(n_before + n_bytes + 1)

    found = ByteWords(np.frombuffer(content, np.uint8), n_before)[places]

    padded = bytes(n_before) + content + bytes(8)
    assert found.tolist() == [int.from_bytes(padded[p : p + 8], "little") for p in places]


def test_words_are_read_in_the_shape_of_their_places() -> None:
    words = ByteWords(np.frombuffer(b"abcdefghijkl", np.uint8))

    found = words[np.array([[1, 4], [0, 3]])]

    assert found[1, 1] == int.from_bytes(b"defghijk", "little")
    assert found.shape == (2, 2)


def test_a_shift_by_all_bits_leaves_nothing() -> None:
    words = np.full(9, 2**64 - 1, np.uint64)
    beside = np.full(9, WORD_BITS, np.uint64)

    assert not (words >> beside).any()
    assert not (words << beside).any()
