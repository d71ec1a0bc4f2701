"""The page of features."""

from __future__ import annotations

import altair as alt
import pandas as pd
import streamlit as st

from serving.console import markup
from serving.console.address import Address
from serving.console.desk import desk
from serving.console.distribution import SHOWN, Everybody, Spread
from serving.console.feature_view import CatalogueView, FeatureView, ViewRow, catalogue_view, feature_view
from serving.console.markup import Html, joined, tag
from serving.console.values import per_cent, value_text
from serving.console.words import Words

_FIND = "find"
_COLOUR = "#7a869a"


def show_features(address: Address, words: Words) -> None:
    """Show the catalogue, and one feature of it.

    Raises
    ------
    DeclarationError
        Nothing was applied yet.
    """
    every = catalogue_view(desk(), words)
    if address.feature:
        _show_feature(feature_view(desk(), every, address.feature, words), address, words)
    _search(address, words)
    found = every.matching(address.find)
    notes = [markup.note(each, warn=True) for each in (found.redis, found.mlflow) if each]
    st.html(markup.page(*notes, *_catalogue(found, address, words)))


def _search(address: Address, words: Words) -> None:
    st.session_state[_FIND] = address.find
    st.text_input(
        words("find"), key=_FIND, placeholder=words("find"), label_visibility="collapsed", on_change=_go, max_chars=100
    )


def _go() -> None:
    st.query_params[_FIND] = st.session_state[_FIND]
    st.query_params.pop("feature", None)


def _catalogue(found: CatalogueView, address: Address, words: Words) -> list[Html]:
    told = tag("p", words("found", found=found.found, features=found.features), class_="soft")
    return [told, *(_view(each, address, words) for each in found.views)]


def _view(view: ViewRow, address: Address, words: Words) -> Html:
    grew = f", {words('grew')} {view.grew.ago} ({view.grew.exact})" if view.grew else ""
    table = f"{view.table}, " if view.table else ""
    told = f"{view.entity}, {view.owner}, {table}{view.state}{grew}"
    mark = "" if view.fresh else tag("b", "! ")
    summary = joined([mark, tag("b", view.name), f" ({len(view.features)}) ", tag("small", told)])
    rows = [
        (
            tag("a", tag("code", row.name), href=address.link(feature=row.name), target="_self"),
            row.says,
            tag("small", row.dtype),
            tag("small", ", ".join(row.models)),
        )
        for row in view.features
    ]
    heads = [words(name) for name in ("feature", "says", "type", "read_by")]
    return markup.fold(summary, markup.table(heads, rows), plain=False, opened=bool(address.find))


def _show_feature(view: FeatureView | None, address: Address, words: Words) -> None:
    if view is None:
        st.html(markup.page(markup.note(words("no_feature", name=address.feature), warn=True)))
        return
    st.html(markup.page(*_head(view, address, words)))
    if view.everybody and view.everybody.bars and view.as_of:
        told = words("everybody_told", count=f"{view.everybody.spread.rows:,}", ago=view.as_of.ago, at=view.as_of.exact)
        st.html(markup.page(tag("p", told, class_="soft")))
        _draw(view.everybody, words)
    st.html(markup.page(*_spreads(view, words), tag("section", tag("h2", words("catalogue")))))


def _head(view: FeatureView, address: Address, words: Words) -> list[Html]:
    grew = markup.when(view.view.grew) if view.view.grew else "-"
    models = (tag("a", each, href=_model_link(each, address), target="_self") for each in view.row.models)
    facts = {
        "type": view.row.dtype,
        "entity": view.view.entity,
        "owner": view.view.owner,
        "freshness": view.view.state,
        "grew": grew,
        "read_by": joined(joined([each, " "]) for each in models) or "-",
    }
    parts = (tag("div", tag("span", words(name)), value) for name, value in facts.items())
    return [tag("h2", tag("code", view.row.name)), tag("p", view.row.says), tag("div", *parts, class_="head")]


def _model_link(named: str, address: Address) -> str:
    name, _, version = named.partition("@")
    return address.link(page="models", model=name, version=version, feature="", find="")


def _spreads(view: FeatureView, words: Words) -> list[Html]:
    lines = [*([view.everybody.spread] if view.everybody else []), *view.trainings]
    if not lines:
        return [markup.note(words("no_spread"), words("no_spread_hint"))]
    heads = ("", "rows", "null_share", *(f"{level:.0%}" for level in SHOWN), "mean")
    rows = [_spread(view.row.name, each, words) for each in lines]
    titles = [words(name) if name.isidentifier() else name for name in heads]
    return [markup.table(titles, rows, numbers=range(1, len(heads)))]


def _spread(name: str, each: Spread, words: Words) -> tuple[str, ...]:
    of = words("training_of", model=each.of) if each.of else words("everybody")
    quantiles = [value_text(name, float(value), words) for value in each.quantiles] or ["-"] * len(SHOWN)
    mean = "-" if each.mean is None else value_text(name, float(each.mean), words)
    return (of, f"{each.rows:,}", per_cent(each.null_share), *quantiles, mean)


def _draw(found: Everybody, words: Words) -> None:
    frame = pd.DataFrame(found.bars, columns=["from", "until", "shoppers"])
    chart = (
        alt.Chart(frame, height=150)
        .mark_bar(color=_COLOUR, stroke=None)
        .encode(
            alt.X("from:Q", title=None, bin="binned", axis=alt.Axis(grid=False, tickCount=8)),
            alt.X2("until:Q"),
            alt.Y("shoppers:Q", title=words("shoppers"), axis=alt.Axis(tickCount=4)),
            [
                alt.Tooltip("from:Q", title=words("from"), format=",.4~g"),
                alt.Tooltip("until:Q", title=words("until"), format=",.4~g"),
                alt.Tooltip("shoppers:Q", title=words("shoppers")),
            ],
        )
    )
    st.altair_chart(chart, width="stretch")
