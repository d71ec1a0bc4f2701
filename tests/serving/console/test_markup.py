"""Whatever a value says, it is shown and does nothing."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from serving.console import markup
from serving.console.instants import Moment

_KNOWN = {"div", "p", "table", "thead", "tbody", "tr", "th", "td", "details", "summary", "span", "small"}


class Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


evil = st.text() | st.sampled_from(["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</td><a href=x>"])


@given(evil)
def test_a_text_is_shown_as_it_is_and_adds_no_element(text: str) -> None:
    made = markup.page(
        markup.note(text, text),
        markup.table([text], [[text]], numbers=(0,)),
        markup.fold(text, text),
        markup.when(Moment(text, text)),
        markup.tag("span", text, title=text),
    )
    seen = Seen()
    seen.feed(made)
    assert seen.tags == _KNOWN
    assert seen.attributes <= {"class", "title"}
    assert not text or "\r" in text or seen.text.count(text) >= 8


def test_a_marked_row_and_numbers_are_told_to_the_style() -> None:
    made = markup.table(["a", "b"], [["1", "2"], ["3", "4"]], numbers=(1,), on=1)
    assert made.count('class="number"') == 3
    assert '<tr class="on"><td>3</td>' in made
