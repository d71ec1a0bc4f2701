"""HTML of the console, made of escaped texts: whatever a value of the log says, it is shown and does nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from serving.console.instants import Moment

STYLE = """
<style>
[data-testid="stMainBlockContainer"] { padding: 28px 40px 60px; max-width: 1240px; }
[data-testid="stSidebar"] { min-width: 190px; width: 190px !important; }
[data-testid="stSidebarHeader"] { height: 12px; padding: 0; margin: 0; } [data-testid="stHeader"] { height: 0; }
.p { font-size: 14px; line-height: 1.45; --line: rgba(128,128,128,.28); --up: #c2410c; --down: #1d4ed8; --soft: .68; }
.p h2 { font-size: 17px; font-weight: 600; margin: 0 0 6px; padding: 0; }
.p h2 small { font-weight: 400; }
.p h3 { font-size: 15px; font-weight: 600; margin: 14px 0 4px; padding: 0; }
.p p { margin: 2px 0 6px; font-size: 14px; }
.p code { font-size: 12.5px; background: none; color: inherit; padding: 0; }
.p a { color: inherit; text-decoration: underline; text-underline-offset: 2px; }
.p .soft, .p small { opacity: var(--soft); font-size: 12.5px; }
.p table { border-collapse: collapse; width: 100%; margin: 0 0 8px; }
.p th { text-align: left; font-weight: 500; opacity: var(--soft); font-size: 12.5px; white-space: nowrap; }
.p th, .p td { padding: 3px 14px 3px 0; vertical-align: top; border: 0; }
.p tbody tr + tr td, .p thead + tbody tr td { border-top: 1px solid var(--line); }
.p td.number, .p th.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.p td.nowrap { white-space: nowrap; } .p td.wide { overflow-wrap: anywhere; }
.p tr.on td { font-weight: 600; }
.p section { border-top: 2px solid var(--line); padding-top: 8px; margin-bottom: 14px; }
.p .facts { columns: 2; column-gap: 36px; margin-bottom: 6px; }
.p .facts div { display: flex; gap: 10px; padding: 2px 0; border-bottom: 1px solid var(--line); break-inside: avoid; }
.p .facts div span { flex: 1; } .p .facts b { white-space: nowrap; font-variant-numeric: tabular-nums; }
.p .facts code { width: 46%; overflow-wrap: anywhere; font-size: 11.5px; } .p .when { white-space: nowrap; }
.p details { margin: 0 0 6px; } .p summary { cursor: pointer; } .p details.soft { opacity: 1; font-size: 14px; }
.p details.soft > summary { font-size: 12.5px; opacity: var(--soft); } .p td details { margin: 0; }
.p .head { display: flex; flex-wrap: wrap; gap: 2px 34px; margin-bottom: 6px; }
.p .head div > span:first-child { opacity: var(--soft); font-size: 12.5px; display: block; }
.p .chips { display: flex; flex-wrap: wrap; gap: 6px; margin: 2px 0 8px; }
.p .chip { border: 1px solid var(--line); border-radius: 4px; padding: 1px 8px; font-size: 12.5px; }
.p .chip b { font-weight: 600; } .p .chip.no { opacity: .8; border-style: dashed; }
.p .note { border-left: 3px solid var(--line); padding: 4px 12px; margin: 4px 0 10px; }
.p .note.warn { border-left-color: var(--up); } .p .note p { margin: 0; }
.p .meter { display: inline-block; width: 64px; height: 7px; background: var(--line); border-radius: 2px; }
.p .meter i { display: block; height: 7px; background: currentColor; opacity: .55; border-radius: 2px; }
.p .bar { display: flex; width: 150px; height: 10px; margin-top: 5px; } .p .bar i { display: block; height: 100%; }
.p .half { width: 50%; display: flex; } .p .half:first-child { justify-content: flex-end; border-right: 1px solid; }
.p i.up { background: var(--up); } .p i.down { background: var(--down); }
.p i.key { display: inline-block; width: 10px; height: 10px; } .p .soft > span { margin-right: 16px; }
.p .score { font-size: 24px; font-weight: 600; margin-right: 10px; }
</style>
"""

_NAMES = {True: "number", False: ""}


class Html(str):
    """Text that is HTML already; any other text is escaped where it is put in."""

    __slots__ = ()


def put(value: Any) -> Html:
    """Escape a text; HTML stays what it is.

    >>> put("<b>"), put(Html("<b>"))
    ('&lt;b&gt;', '<b>')
    """
    return value if isinstance(value, Html) else Html(escape(str(value), quote=True))


def tag(name: str, *inner: Any, **attributes: str) -> Html:
    """Return an element; ``class_`` is the attribute class.

    >>> tag("p", "a < b", class_="note")
    '<p class="note">a &lt; b</p>'
    """
    said = "".join(f' {key.rstrip("_")}="{put(value)}"' for key, value in attributes.items() if value)
    return Html(f"<{name}{said}>{''.join(map(put, inner))}</{name}>")


def joined(parts: Iterable[Any]) -> Html:
    """Return parts one after another."""
    return Html("".join(map(put, parts)))


def page(*parts: Any) -> str:
    """Return parts as one block in the console's style."""
    return tag("div", *parts, class_="p")


def table(heads: Sequence[Any], rows: Iterable[Sequence[Any]], *, numbers: Iterable[int] = (), on: int = -1) -> Html:
    """Return a table.

    Parameters
    ----------
    heads
        None at all, or one for each column.
    numbers
        Places of the columns that are aligned as numbers.
    on
        Place of the row that is marked.
    """
    right = set(numbers)
    head = joined(tag("th", each, class_=_NAMES[place in right]) for place, each in enumerate(heads))
    body = joined(
        tag("tr", *(tag("td", each, class_=_NAMES[i in right]) for i, each in enumerate(row)), class_="on" * (n == on))
        for n, row in enumerate(rows)
    )
    return tag("table", tag("thead", tag("tr", head)) if heads else "", tag("tbody", body))


def note(what: str, hint: str = "", *, warn: bool = False) -> Html:
    """Return a sentence that stands apart, and what to do."""
    parts = [tag("p", what), tag("p", hint, class_="soft")] if hint else [tag("p", what)]
    return tag("div", *parts, class_="note warn" if warn else "note")


def fold(summary: Any, *inner: Any, plain: bool = True, opened: bool = False) -> Html:
    """Return something that opens when it is clicked; a plain summary is only how to open it."""
    kind = {"class_": "soft"} if plain else {}
    return tag("details", tag("summary", summary), *inner, **kind, **({"open": "open"} if opened else {}))


def when(at: Moment) -> Html:
    """Return an instant: how long ago, the exact one beside it."""
    return tag("span", at.ago, " ", tag("small", at.exact), class_="when")


def meter(share: float) -> Html:
    """Return a share as a small bar."""
    return tag("span", tag("i", style=f"width:{100 * min(max(share, 0.0), 1.0):.0f}%"), class_="meter")


def bar(share: float) -> Html:
    """Return a signed share, -1 to 1, as a bar from the middle."""
    kind = "up" if share >= 0 else "down"
    filled = tag("i", class_=kind, style=f"width:{100 * min(abs(share), 1.0):.0f}%")
    left, right = ("", filled) if kind == "up" else (filled, "")
    return tag("div", tag("div", left, class_="half"), tag("div", right, class_="half"), class_="bar")
