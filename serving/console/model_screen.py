"""The page of models."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from feature_repo.core.errors import StoreUnavailableError
from feature_repo.core.mlflow_client import CHAMPION
from serving.console import markup
from serving.console.address import Address
from serving.console.desk import Desk, desk
from serving.console.fairness_view import Fairness
from serving.console.figures import Table
from serving.console.markup import Html, joined, tag
from serving.console.model_view import ModelLine, VersionView, model_line, version_view
from serving.console.shelf import CHALLENGER, Registered, Run, Version
from serving.console.words import Words

_WIDTH = 440


def show_models(address: Address, words: Words) -> None:
    """Show every registered model, and one version of one.

    Raises
    ------
    StoreUnavailableError
        MLflow does not answer.
    """
    models = desk().shelf.models()
    if not models:
        st.html(markup.page(markup.note(words("no_models"), words("no_tasks_hint"))))
        return
    chosen = next((each for each in models if each.name == address.model), models[0])
    lines = [model_line(each, _run(desk(), each.find("")), words) for each in models]
    st.html(markup.page(_list(lines, models.index(chosen), address, words)))
    version = chosen.find(address.version)
    if version is None:
        st.html(markup.page(tag("h2", chosen.name), markup.note(words("no_versions"))))
        return
    run = desk().shelf.run(version.run_id)
    view = version_view(chosen, version, run, _rival(desk(), chosen, version), desk().now, words)
    st.html(markup.page(_head(view, chosen, address, words), *_measured(view, words)))
    _show_pictures(view, words)
    _show_card(view, words)


def _run(asked: Desk, version: Version | None) -> Run | None:
    """Return a version's run; None of one that MLflow has lost: the list is shown without its figures."""
    try:
        return asked.shelf.run(version.run_id) if version else None
    except StoreUnavailableError:
        return None


def _rival(asked: Desk, model: Registered, version: Version) -> tuple[Version, Run] | None:
    """Return who a version is compared with: the challenger of the champion, the champion of another one."""
    rival = model.having(CHALLENGER if CHAMPION in version.aliases else CHAMPION)
    run = _run(asked, rival)
    return (rival, run) if rival and run else None


def _list(lines: Sequence[ModelLine], chosen: int, address: Address, words: Words) -> Html:
    heads = ("model", "question", "champion", "challenger", "gates", "figures", "trained_until")
    rows = [
        (
            tag("a", each.name, href=address.link(model=each.name, version=""), target="_self"),
            each.question,
            each.champion or "-",
            each.challenger or "-",
            tag("span", each.gates, class_="when"),
            joined(tag("div", figure, class_="when") for figure in each.figures),
            tag("span", each.trained_until, class_="when"),
        )
        for each in lines
    ]
    return markup.table([words(name) for name in heads], rows, on=chosen)


def _head(view: VersionView, model: Registered, address: Address, words: Words) -> Html:
    numbers = [
        tag("b", each.number)
        if f"{each.name}@{each.number}" == view.name
        else tag("a", each.number, href=address.link(model=model.name, version=each.number), target="_self")
        for each in model.versions
    ]
    facts = {
        "aliases": ", ".join(map(words.alias, view.aliases)) or "-",
        "registered": markup.when(view.registered),
        "trained_until": view.trained_until or "-",
        "reads": words("features_read", count=view.features),
        "versions": joined(joined([each, " "]) for each in numbers),
    }
    parts = (tag("div", tag("span", words(name)), value) for name, value in facts.items())
    return tag(
        "section", tag("h2", view.name), tag("p", view.question), tag("div", *parts, class_="head"), class_="version"
    )


def _measured(view: VersionView, words: Words) -> list[Html]:
    parts = [tag("h3", words("metrics")), tag("p", words("metrics_told"), class_="soft"), _table(view.metrics)]
    if view.beside:
        parts += [tag("h3", words("beside")), tag("p", words("beside_told"), class_="soft"), _table(view.beside)]
    if view.gates.rows:
        parts += [tag("h3", words("gates")), _table(view.gates)]
    return [*parts, tag("h3", words("fairness")), *_fairness(view, words)]


def _fairness(view: VersionView, words: Words) -> list[Html]:
    if not view.fairness:
        return [markup.note(words("no_fairness"), view.fairness_missing)]
    return [tag("p", words("fairness_told"), class_="soft"), *(_by(each, words) for each in view.fairness)]


def _by(found: Fairness, words: Words) -> Html:
    groups = markup.fold(words("every_group", count=len(found.groups.rows)), _table(found.groups))
    return joined([tag("p", tag("b", found.by), " ", tag("small", found.told)), _table(found.gaps), groups])


def _show_pictures(view: VersionView, words: Words) -> None:
    st.html(markup.page(tag("h3", words("calibration"))))
    if view.calibration:
        _show(view.calibration)
    else:
        st.html(markup.page(markup.note(words("no_calibration"))))
    if view.pictures or view.fairness_pictures:
        st.html(markup.page(tag("h3", words("pictures"))))
        _show((*view.pictures, *view.fairness_pictures))


def _show(pictures: Sequence[bytes]) -> None:
    columns = st.columns(2)
    for place, picture in enumerate(pictures):
        columns[place % 2].image(picture, width=_WIDTH)


def _show_card(view: VersionView, words: Words) -> None:
    if view.history.rows:
        st.html(markup.page(tag("h3", words("history")), _table(view.history)))
    if view.card:
        with st.expander(words("card")):
            st.markdown(view.card)


def _table(found: Table) -> Html:
    return markup.table(found.heads, found.rows, on=found.on)
