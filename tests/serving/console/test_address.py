"""A link is a page, and names nobody by a raw id."""

from __future__ import annotations

from urllib.parse import parse_qsl

from hypothesis import given
from hypothesis import strategies as st

from serving.console.address import LANGUAGES, PAGES, PARTS, Address, names_nobody

USER = "u_" + "a" * 32
texts = st.text(max_size=40)
addresses = st.builds(
    Address,
    page=st.sampled_from(PAGES),
    lang=st.sampled_from(LANGUAGES),
    part=st.sampled_from(PARTS),
    user=st.sampled_from(["", USER]),
    before=texts,
    feature=texts,
    find=texts,
    model=texts,
    version=texts,
)


@given(addresses)
def test_a_link_leads_to_the_page_it_was_made_of(address: Address) -> None:
    asked = dict(parse_qsl(address.link().removeprefix("?"), keep_blank_values=True))
    assert Address.of(asked, lang="zh") == Address.of(asked) == address


@given(st.dictionaries(st.sampled_from(["page", "lang", "part", "user", "feature"]), texts))
def test_whatever_is_asked_a_page_is_shown_and_no_raw_id_is_kept(asked: dict[str, str]) -> None:
    found = Address.of(asked)
    assert found.page in PAGES
    assert found.lang in LANGUAGES
    assert found.part in PARTS
    assert found.user == ""
    assert names_nobody(asked) == bool(asked.get("user"))


def test_the_language_of_the_command_holds_where_none_is_asked_for() -> None:
    assert Address.of({}, lang="zh").lang == "zh"
    assert Address.of({"lang": "en"}, lang="zh").lang == "en"
    assert Address.of({"lang": "fr"}, lang="zh").lang == "zh"
