"""Canonical JSON as the offline verifier writes it, which has no library to lean on."""

from __future__ import annotations

import math
import random
import struct

import pytest
import rfc8785

from signoff_api.inbox.verify_audit import canonical, number


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0"), (-0.0, "0"), (1.0, "1"), (-1.5, "-1.5"), (100.0, "100"), (1e20, "100000000000000000000"),
        (1e21, "1e+21"), (1.5e300, "1.5e+300"), (0.1, "0.1"), (1e-6, "0.000001"), (1e-7, "1e-7"), (1.25e-9, "1.25e-9"),
        (5e-324, "5e-324"), (1.7976931348623157e308, "1.7976931348623157e+308"),
        (123456789012345680000.0, "123456789012345680000"), (9007199254740991, "9007199254740991"),
        (333333333.33333329, "333333333.3333333"), (4.5, "4.5"), (2e-3, "0.002"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_ecmascript_writes_them(value: float, written: str) -> None:
    assert number(value) == written


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2**53, -(2**53)])
def test_a_number_without_a_canonical_form_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="no canonical form"):
        number(value)


def test_half_a_character_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        canonical("\ud800")


def test_it_writes_what_the_servers_library_writes() -> None:
    drawn = random.Random(20_260_301)
    for _ in range(20_000):
        value = struct.unpack("<d", drawn.randbytes(8))[0]
        if math.isfinite(value):
            assert number(value).encode() == rfc8785.dumps(value)
    texts = ["", "\x00\x1f\x7f", '"\\/\b\f\n\r\t', "é", "\ue000", "😀", "\ufb33", "\u2028", "1", "10", "a", "A"]
    for _ in range(300):
        value = {drawn.choice(texts): [drawn.choice(texts), drawn.random(), None, True, {}] for _ in range(6)}
        assert canonical(value) == rfc8785.dumps(value)
