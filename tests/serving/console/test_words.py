"""Every word is there in both languages, and every word that is used is there."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path
from string import Formatter

import pytest

import serving.console
from feature_repo.events.schema import EVENTS, arrow_schema
from feature_repo.privacy.consent import PURPOSES
from serving.catalogue import split_languages
from serving.console.event_words import COLUMNS, KINDS
from serving.console.words import WORDS

_SOURCES = [path.read_text("utf-8") for path in Path(serving.console.__file__).parent.glob("*.py")]
_HIDDEN = {"event_id", "event_timestamp", "client_timestamp", "ingested_at", "user_id"}


def filled(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("table", [WORDS, KINDS])
def test_every_word_is_said_in_both_languages(table: dict[str, tuple[str, str]]) -> None:
    for key, (english, chinese) in table.items():
        assert english.strip(), key
        assert split_languages(english)[1] == "", key
        assert re.search(r"[\u3400-\u9fff]", chinese), key
        assert filled(english) == filled(chinese), key


def test_every_word_that_is_asked_for_is_in_the_table() -> None:
    asked = set(chain.from_iterable(re.findall(r'words\("([a-z_.]+)"', source) for source in _SOURCES))
    assert len(asked) > 20
    assert asked - set(WORDS) == set()


def test_every_word_of_the_table_is_used() -> None:
    text = "".join(source for source in _SOURCES if "WORDS: Mapping" not in source)
    # Of these the rest of the key is what is found.
    made = ("purpose.", "withheld.", "unread.", "unasked.", "state.", "fair.", "gates.")
    unused = {key for key in WORDS if not re.search(f"""['"]{key}['"]""", text) and not key.startswith(made)}
    assert unused == set()


def test_every_purpose_has_words() -> None:
    assert {f"purpose.{each}" for each in PURPOSES} == {key for key in WORDS if key.startswith("purpose.")}


def test_every_event_and_each_of_its_columns_has_words() -> None:
    assert set(EVENTS) <= set(KINDS)
    columns = {field.name for name in EVENTS for field in arrow_schema(name)}
    assert columns - _HIDDEN == set(COLUMNS)
