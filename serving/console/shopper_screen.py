"""The page of one shopper."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import altair as alt
import pandas as pd
import streamlit as st

from feature_repo.core.errors import PortraitError
from serving.console import markup
from serving.console.address import PARTS, Address, names_nobody
from serving.console.desk import desk
from serving.console.markup import Html, joined, tag
from serving.console.recommended import ListView, list_view
from serving.console.scores import ReasonLine, ScoreView, score_views
from serving.console.shopper import DimensionView, FactLine, ShopperView, TagLine, shopper_view
from serving.console.timeline import TimelineView, timeline_view
from serving.console.words import Words

_ASKED, _TROUBLE = "asked", "trouble"
_COLOUR = "#7a869a"


def show_shopper(address: Address, words: Words) -> None:
    """Show a shopper, or ask for one.

    Raises
    ------
    PortraitError
        There is nothing to show it from.
    """
    _search(words)
    if not address.user:
        raw = names_nobody(st.query_params.to_dict())
        told = markup.note(words("raw_in_address")) if raw else markup.note(words("nobody"), words("search_help"))
        st.html(markup.page(told))
        st.query_params.pop("user", None)
    elif desk().erased(address.user):
        st.html(markup.page(_title(address.user, words), markup.note(words("erased"))))
    else:
        view = shopper_view(desk(), address.user, words)
        st.html(markup.page(*_head(view, words)))
        _choose_part(address, words)
        if address.part == PARTS[0]:
            st.html(markup.page(*_portrait(view, words)))
        else:
            _SHOWN[address.part](address, words)


def _search(words: Words) -> None:
    with st.form("search", border=False):
        field, button = st.columns([4, 1], vertical_alignment="bottom")
        field.text_input(
            words("search"),
            key=_ASKED,
            placeholder=words("search"),
            label_visibility="collapsed",
            autocomplete="off",
        )
        button.form_submit_button(words("show"), on_click=_find)
    if trouble := st.session_state.pop(_TROUBLE, None):
        st.html(markup.page(markup.note(*trouble, warn=True)))


def _find() -> None:
    """Take the id out of the field, and put its pseudonym into the address."""
    named = st.session_state[_ASKED].strip()
    st.session_state[_ASKED] = ""
    if not named:
        return
    try:
        st.query_params["user"] = desk().key(named)
    except PortraitError as error:
        st.session_state[_TROUBLE] = (error.what, error.hint)


def _choose_part(address: Address, words: Words) -> None:
    st.session_state["part"] = address.part
    st.segmented_control(
        words("part"),
        PARTS,
        key="part",
        format_func=words,
        on_change=_go_to_part,
        label_visibility="collapsed",
    )


def _go_to_part() -> None:
    st.query_params.pop("before", None)
    st.query_params["part"] = st.session_state["part"] or PARTS[0]


def _title(user: str, words: Words) -> Html:
    return tag("h2", words("shopper"), " ", tag("code", user))


def _head(view: ShopperView, words: Words) -> list[Html]:
    last = markup.when(view.last_event) if view.last_event else words("no_last_event")
    facts = {"last_event": last, "read_at": markup.when(view.read_at)}
    for name, placed in (("segment", view.segment), ("stage", view.stage)):
        meaning = tag("small", placed.meaning) if placed else ""
        since = words("placed", at=view.placed_at.ago) if view.placed_at else ""
        facts[name] = joined([tag("b", placed.name, title=since), " ", meaning]) if placed else words("not_placed")
    notes = [
        *([markup.note(words("degraded", at=view.degraded), warn=True)] if view.degraded else []),
        *([] if view.known else [markup.note(words("never_seen"), warn=True)]),
    ]
    parts = (tag("div", tag("span", words(name)), value) for name, value in facts.items())
    return [_title(view.user_id, words), *notes, tag("div", *parts, class_="head"), _consent(view, words)]


def _consent(view: ShopperView, words: Words) -> Html:
    if not view.consent:
        return markup.note(words("consent_unread"), warn=True)
    chips = (
        tag("span", each.purpose, " ", tag("b", each.answer), " ", tag("small", each.why), class_=kind)
        for each, kind in ((each, "chip" if each.permitted else "chip no") for each in view.consent)
    )
    return tag("div", tag("small", words("consent")), *chips, class_="chips")


def _portrait(view: ShopperView, words: Words) -> list[Html]:
    return [_dimension(each, words) for each in view.dimensions]


def _dimension(view: DimensionView, words: Words) -> Html:
    parts = [tag("h2", view.title)]
    if view.withheld:
        return tag("section", *parts, markup.note(view.withheld))
    if view.warning:
        parts.append(markup.note(view.warning))
    if view.tags:
        heads = [words(name) for name in ("tag", "value", "strength", "because")]
        parts.append(markup.table(heads, [_tag(each) for each in view.tags]))
    if view.facts:
        parts.append(_facts(view.facts))
    if not view.tags and not view.facts:
        parts.append(tag("p", words("nothing_known"), class_="soft"))
    if view.nothing:
        parts.append(markup.fold(words("zero_or_null", count=len(view.nothing)), _facts(view.nothing)))
    if view.unknown:
        parts.append(markup.fold(words("tags_unknown", count=len(view.unknown)), markup.table((), view.unknown)))
    return tag("section", *parts)


def _tag(line: TagLine) -> tuple[Html, ...]:
    bar = "" if line.strength is None else joined([markup.meter(line.strength), " ", f"{line.strength:.2f}"])
    made_of = tag("small", line.because, title=f"{line.as_of.ago}, {line.as_of.exact}")
    return tag("span", line.label), tag("b", line.word), tag("small", bar, class_="when"), made_of


def _facts(lines: tuple[FactLine, ...]) -> Html:
    rows = (
        tag("div", tag("span", each.label), tag("b", each.value), tag("code", each.name, class_="soft"))
        for each in lines
    )
    return tag("div", *rows, class_="facts")


def _show_timeline(address: Address, words: Words) -> None:
    view = timeline_view(desk(), address.user, address.before, words)
    if view.weeks and not address.before:
        st.html(markup.page(tag("h3", words("by_week", count=len(view.weeks)))))
        _draw_weeks(view, words)
    st.html(markup.page(*_timeline(view, address, words)))


def _timeline(view: TimelineView, address: Address, words: Words) -> list[Html]:
    links = []
    if address.before:
        links.append(tag("a", words("newest"), href=address.link(before=""), target="_self"))
    if view.older:
        links.append(tag("a", words("older"), href=address.link(before=view.older), target="_self"))
    foot = tag("p", *(joined([link, "   "]) for link in links))
    if not view.entries:
        return [markup.note(words("no_events_before" if address.before else "no_events")), foot]
    rows = [(markup.when(each.at), tag("b", each.what), each.details) for each in view.entries]
    return [markup.table([words(name) for name in ("when", "what", "details")], rows), foot]


def _draw_weeks(view: TimelineView, words: Words) -> None:
    frame = pd.DataFrame(view.weeks, columns=["week", "events"])
    frame["week"] = frame["week"].dt.strftime("%Y-%m-%d")
    title = {"week": words("week"), "events": words("events")}
    chart = (
        alt.Chart(frame, height=110)
        .mark_bar(color=_COLOUR)
        .encode(
            alt.X("week:T", title=None, axis=alt.Axis(format="%Y-%m", tickCount="month", grid=False)),
            alt.Y("events:Q", title=None, axis=alt.Axis(tickMinStep=1, tickCount=3)),
            [
                alt.Tooltip("week:T", title=title["week"], format="%Y-%m-%d"),
                alt.Tooltip("events:Q", title=title["events"]),
            ],
        )
    )
    st.altair_chart(chart, width="stretch")


def _show_scores(address: Address, words: Words) -> None:
    views = score_views(desk(), address.user, words)
    if not views:
        st.html(markup.page(markup.note(words("no_tasks"), words("no_tasks_hint"))))
        return
    legend = (tag("span", tag("i", class_=f"key {kind}"), " ", words(name)) for kind, name in _LEGEND)
    st.html(markup.page(tag("p", *legend, class_="soft"), *(_score(each, words) for each in views)))


_LEGEND = (("up", "raises"), ("down", "lowers"))


def _score(view: ScoreView, words: Words) -> Html:
    if view.why_not or view.as_of is None:
        return tag("section", _task(view), markup.note(view.why_not))
    told = f"{view.model}, {view.margin}, {view.as_of.ago} ({view.as_of.exact})"
    parts = [
        _task(view),
        tag("p", tag("span", view.value, class_="score"), " ", tag("small", told)),
        _reasons(view.reasons, words),
    ]
    if view.smaller:
        parts.append(markup.fold(words("more_reasons", count=len(view.smaller)), _reasons(view.smaller, words)))
    for key, names in (("by_default", view.defaults), ("missing", view.missing)):
        if names:
            parts.append(tag("p", words(key, names=", ".join(names)), class_="soft"))
    return tag("section", *parts)


def _task(view: ScoreView) -> Html:
    return tag("h2", view.task, " ", tag("small", view.question))


def _reasons(reasons: tuple[ReasonLine, ...], words: Words) -> Html:
    rows = [(markup.bar(each.share), each.adds, _sentence(each)) for each in reasons]
    return markup.table(["", words("adds"), words("reason")], rows, numbers=(1,))


def _sentence(reason: ReasonLine) -> Html:
    rows = [(tag("code", name), value, added) for name, value, added in reason.behind]
    said = joined([reason.sentence, " ", tag("small", reason.dimension)])
    return markup.fold(said, markup.table((), rows, numbers=(1, 2)), plain=False)


def _show_list(address: Address, words: Words) -> None:
    st.html(markup.page(*_list(list_view(desk(), address.user, words), words)))


def _list(view: ListView, words: Words) -> list[Html]:
    if view.withheld or view.as_of is None:
        return [markup.note(view.withheld, warn=True)]
    history = words("history_until", at=view.history.exact) if view.history else words("no_history")
    told = f"{view.model}, {view.as_of.ago} ({view.as_of.exact}). {history}. {words('score_orders')}"
    head = [markup.note(view.warning, warn=True)] if view.warning else []
    if not view.items:
        return [*head, markup.note(words("empty_list"))]
    rows = [
        (str(place), each.item_id, each.category, tag("b", each.reason), each.bought, each.score)
        for place, each in enumerate(view.items, 1)
    ]
    heads = ["", *(words(name) for name in ("item", "category", "reason", "bought_before", "score"))]
    return [*head, markup.table(heads, rows, numbers=(5,)), tag("p", told, class_="soft")]


_SHOWN: Mapping[str, Callable[[Address, Words], None]] = {
    "timeline": _show_timeline,
    "scores": _show_scores,
    "recommendations": _show_list,
}
