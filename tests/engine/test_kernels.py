"""The laws every registered function obeys: nothing here names one, so a new class is tested by being registered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.core.errors import DeclarationError
from feature_repo.engine.kernels import FLOAT, INT, KERNELS, Monoid, kernel_named, monoid_of
from feature_repo.engine.spec import windowed_view_of
from feature_repo.engine.tile_codec import HEADER, NO_VERSION, TileCodec, Tiles, merge
from histories import BASE, every_kernel_view

VIEW = windowed_view_of(every_kernel_view(Path("nowhere")))
Ints = st.integers(-(2**40), 2**40)


def monoids() -> list[Monoid]:
    kinds = [monoid for kernel in KERNELS.values() for kind in (INT, FLOAT) for monoid in kernel.monoids("x", kind)]
    return list({monoid.key: monoid for monoid in kinds}.values())


@pytest.mark.parametrize("monoid", monoids(), ids=lambda monoid: monoid.key)
@given(values=st.lists(Ints, min_size=1, max_size=8), cut=st.integers(0, 8))
def test_merging_is_associative_commutative_and_has_an_identity(monoid: Monoid, values: list[int], cut: int) -> None:
    states = np.array(values, monoid.kind)

    def fold(parts: np.ndarray) -> np.ndarray:
        return monoid.reduce(parts, np.array([0]))

    whole = fold(states)
    halves = [fold(part) for part in (states[:cut], states[cut:]) if len(part)]
    assert fold(np.concatenate(halves)) == whole
    assert fold(states[::-1]) == whole
    assert fold(np.append(states, np.array([monoid.identity], monoid.kind))) == whole


@pytest.mark.parametrize("monoid", monoids(), ids=lambda monoid: monoid.key)
def test_a_state_columns_key_names_its_monoid(monoid: Monoid) -> None:
    assert monoid_of(monoid.key) == monoid


def test_an_unknown_function_or_state_is_refused() -> None:
    with pytest.raises(DeclarationError, match="did you mean 'count'"):
        kernel_named("cuont")
    with pytest.raises(DeclarationError, match="this version does not know"):
        monoid_of("sketch.b64(x)")


def tiles_of(draw: st.DataObject, entities: int) -> Tiles:
    places = draw.draw(st.sets(st.tuples(st.integers(0, entities - 1), st.integers(-3, 5)), max_size=12))
    owner, tile = (np.array([place[i] for place in sorted(places)], np.int64) for i in (0, 1))
    states = tuple(
        np.array(draw.draw(st.lists(Ints, min_size=len(places), max_size=len(places))), monoid.kind)
        for monoid in VIEW.monoids
    )
    return Tiles(owner, tile, states)


@given(st.data(), st.integers(1, 4), st.integers(0, 2**52))
def test_what_is_encoded_is_decoded(draw: st.DataObject, entities: int, version: int) -> None:
    tiles = tiles_of(draw, entities)
    codec = TileCodec(VIEW.monoids)
    back, versions = codec.decode(codec.encode(tiles, entities, version))
    assert versions.tolist() == [version] * entities
    assert back.owner.tolist() == tiles.owner.tolist()
    assert back.tile.tolist() == tiles.tile.tolist()
    for found, expected in zip(back.states, tiles.states, strict=True):
        assert found.tolist() == expected.tolist()


@given(st.data())
def test_the_order_of_merging_does_not_matter(draw: st.DataObject) -> None:
    one, other = tiles_of(draw, 3), tiles_of(draw, 3)
    left, right = merge(VIEW.monoids, one, other), merge(VIEW.monoids, other, one)
    assert left.owner.tolist() == right.owner.tolist()
    assert left.tile.tolist() == right.tile.tolist()
    assert [state.tolist() for state in left.states] == [state.tolist() for state in right.states]


def test_a_missing_state_decodes_to_nothing() -> None:
    tiles, versions = TileCodec(VIEW.monoids).decode([None, None])
    assert len(tiles.owner) == 0
    assert versions.tolist() == [NO_VERSION, NO_VERSION]


def test_the_format_of_a_state_is_pinned() -> None:
    codec = TileCodec([monoid_of("rows.i8()"), monoid_of("sum.f8(amount)")])
    tiles = Tiles(np.array([0]), np.array([7]), (np.array([2]), np.array([1.5])))
    [state] = codec.encode(tiles, 1, 258)
    assert state[: HEADER.size].hex() == "01000000" + "01000000" + "0201000000000000"
    assert state[HEADER.size :].hex() == "0700000000000000" + "0200000000000000" + "000000000000f83f"
    assert BASE % 3_600_000_000 == 0
