from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.data.split import split_by_time

rows = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 6)), max_size=30)
lengths = st.integers(1, 8)


@given(rows, lengths, lengths)
def test_no_label_of_training_is_decided_after_the_test_begins(
    pairs: list[tuple[int, int]], holdout: int, validation: int
):
    at = np.array([at for at, _ in pairs], np.int64)
    known_at = np.array([at + horizon for at, horizon in pairs], np.int64)
    split = split_by_time(at, known_at, end=12, holdout=holdout, validation=validation)
    for earlier, later in ((split.train, split.test), (split.fit, split.valid)):
        assert not (earlier & later).any()
        if earlier.any() and later.any():
            assert known_at[earlier].max() <= at[later].min()
    for part in (split.fit, split.valid):
        assert not (part & ~split.train).any()
    straddles = split.train & ~split.fit & ~split.valid
    assert (known_at[straddles] > split.cut - validation).all()
    assert (at[straddles] < split.cut - validation).all()


@given(rows, lengths)
def test_a_row_serves_unless_its_answer_straddles_the_cut(pairs: list[tuple[int, int]], holdout: int):
    at = np.array([at for at, _ in pairs], np.int64)
    known_at = np.array([at + horizon for at, horizon in pairs], np.int64)
    split = split_by_time(at, known_at, end=12, holdout=holdout, validation=1)
    straddles = (at < split.cut) & (known_at > split.cut)
    assert (straddles == ~(split.train | split.test)).all()
    assert split.roles.tolist() == [
        "embargo" if s else "test" if a >= split.cut else "train" for s, a in zip(straddles, at, strict=True)
    ]
