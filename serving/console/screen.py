"""The frame of every page: which page, in which language, and what is said when a page cannot be shown."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import streamlit as st

from feature_repo.core.errors import PortraitError
from serving.console import markup
from serving.console.address import LANGUAGES, PAGES, Address
from serving.console.feature_screen import show_features
from serving.console.model_screen import show_models
from serving.console.shopper_screen import show_shopper
from serving.console.words import Words

_log = logging.getLogger("portrait")

_SCREENS: Mapping[str, Callable[[Address, Words], None]] = {
    "shopper": show_shopper,
    "features": show_features,
    "models": show_models,
}
_NAMES = {"en": "English", "zh": "中文"}


def show(default_lang: str) -> None:
    """Show the page the address names."""
    st.set_page_config(page_title="Portrait", layout="wide", initial_sidebar_state="expanded")
    st.html(markup.STYLE)
    address = Address.of(st.query_params.to_dict(), lang=default_lang)
    words = Words(address.lang)
    _frame(address, words)
    try:
        with st.spinner(words("loading")):
            _SCREENS[address.page](address, words)
    except PortraitError as error:
        st.html(markup.page(markup.note(error.what, error.hint, warn=True)))
    except Exception as error:  # noqa: BLE001 - told in words here, and whole to the log
        _log.exception("A page could not be shown.")
        hint = words("fault_hint", kind=type(error).__name__)
        st.html(markup.page(markup.note(words("fault"), hint, warn=True)))


def _frame(address: Address, words: Words) -> None:
    with st.sidebar:
        st.html(markup.page(markup.tag("h2", "Portrait ", markup.tag("small", "用户画像"))))
        _choice("page", PAGES, address.page, words, words)
        _choice("lang", LANGUAGES, address.lang, words, _NAMES.__getitem__)
        st.html(markup.page(markup.tag("p", words("read_only"), class_="soft")))


def _choice(key: str, options: tuple[str, ...], chosen: str, words: Words, named: Callable[[str], str]) -> None:
    """Let somebody choose what an address says; the address decides, whatever was chosen before."""
    st.session_state[key] = chosen
    label = words("page" if key == "page" else "language")
    st.radio(label, options, key=key, format_func=named, on_change=_go, args=(key,))


def _go(key: str) -> None:
    st.query_params[key] = st.session_state[key]
