"""What sets an audience apart, as one page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from itertools import groupby
from math import isnan, log2
from pathlib import Path
from typing import Any

from feature_repo.core.errors import SettingsError
from feature_repo.engine.retrieval import replacing
from serving.audiences.insight import SIGNIFICANT, Insight, Trait
from serving.audiences.words import called, worded

# Nothing is fetched and nothing runs, whatever a value of the log says.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
# The longest bar is four times as often, or a quarter as often, as everywhere.
_LONGEST = 2.0
_MOST = 30
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --up: #c2410c; --down: #1d4ed8; }
@media (prefers-color-scheme: dark) { :root { --up: #fb923c; --down: #93c5fd; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin-bottom: 0; } h2 { font-size: 1.05rem; margin: 2rem 0 .2rem; }
code { font-size: .85em; overflow-wrap: anywhere; } p.note, small, .zh { opacity: .75; }
table { border-collapse: collapse; width: 100%; table-layout: fixed; }
th { text-align: left; font-weight: 500; opacity: .75; } th, td { padding: .2rem .6rem .2rem 0; }
th.number, td.number { text-align: right; } td.number { white-space: nowrap; }
tr + tr td { border-top: 1px solid var(--line); }
th:first-child { width: 26%; } th:nth-child(2) { width: 28%; } td { overflow-wrap: anywhere; }
tr.chance { opacity: .5; } .bar { display: flex; height: .8rem; }
.half { width: 50%; display: flex; } .half i { display: block; height: 100%; }
.half:first-child { justify-content: flex-end; border-right: 1px solid var(--line); }
i.up { background: var(--up); } i.down { background: var(--down); }
"""


def write_page(insight: Insight, path: Path) -> None:
    """Write the page; it appears whole or not at all.

    Raises
    ------
    SettingsError
        The file cannot be written.
    """
    try:
        with replacing(path) as partial:
            partial.touch(mode=0o600)
            partial.write_text(page(insight), "utf-8")
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}.", hint="name another file.") from None


def page(insight: Insight) -> str:
    """Return the page as HTML."""
    asked = [each for each in insight.traits if each.asked]
    others = [each for each in insight.traits if not each.asked]
    parts = [*_head(insight), *_tags(others)]
    if asked:
        parts += ["<h1>Selected by 筛选条件</h1>", '<p class="note">Far from 100 by construction.</p>', *_tags(asked)]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">'
        f"<title>Audience {_text(insight.audience)}</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _head(insight: Insight) -> Iterator[str]:
    share = insight.size / insight.everyone
    yield f"<h1>Audience 人群 <code>{_text(insight.audience)}</code></h1>"
    if insight.selection != insight.audience:
        yield f"<p><code>{_text(insight.selection)}</code></p>"
    yield (
        f'<p class="note">{insight.size:,} of {insight.everyone:,} shoppers ({share:.1%}), as of '
        f"{insight.as_of:%Y-%m-%d %H:%M} UTC.</p>"
    )
    yield (
        '<p class="note">TGI 目标群体指数: 100 is as often as among everybody, 200 twice as often. A bar reaches '
        f"its end at four times, or a quarter. Pale rows may be chance: adjusted p (Benjamini-Hochberg) of "
        f"{SIGNIFICANT} or more.</p>"
    )


def _tags(traits: Iterable[Trait]) -> Iterator[str]:
    for tag, group in groupby(traits, key=lambda each: each.tag):
        rows = sorted(group, key=lambda each: (each.value is None, -each.index))
        shown = rows if len(rows) <= _MOST else sorted(rows, key=lambda each: -each.people)[:_MOST]
        yield f"<h2>{_both(*called(tag))} <small><code>{_text(tag)}</code></small></h2>"
        head = "".join(f'<th class="number">{name}</th>' for name in ("TGI", "audience 人群", "everybody 全体"))
        yield f'<table><tr><th></th><th></th>{head}<th class="number">adjusted p</th></tr>'
        yield from map(_row, shown)
        yield "</table>"
        if len(shown) < len(rows):
            yield f'<p class="note">The {_MOST} most frequent of {len(rows):,} values.</p>'


def _row(trait: Trait) -> str:
    kind = "" if trait.significant or trait.asked else ' class="chance"'
    return (
        f"<tr{kind}><td>{_both(*worded(trait.tag, trait.value))}</td><td>{_bar(trait.index)}</td>"
        f'<td class="number">{_number(trait.index, ".0f")}</td>'
        f'<td class="number" title="{trait.people:,} shoppers">{trait.share:.1%}</td>'
        f'<td class="number" title="{trait.everyone:,} shoppers">{trait.share_of_everyone:.1%}</td>'
        f'<td class="number">{_number(trait.adjusted, ".2g")}</td></tr>'
    )


def _both(english: str, chinese: str) -> str:
    return _text(english) + (f' <span class="zh" lang="zh">{_text(chinese)}</span>' if chinese else "")


def _bar(index: float) -> str:
    length = -_LONGEST if index == 0 else 0.0 if isnan(index) else log2(index / 100)
    width = 100 * min(abs(length), _LONGEST) / _LONGEST
    filled = f'<i class="{"up" if length > 0 else "down"}" style="width:{width:.0f}%"></i>'
    left, right = ("", filled) if length > 0 else (filled, "")
    return f'<div class="bar"><div class="half">{left}</div><div class="half">{right}</div></div>'


def _number(value: float, form: str) -> str:
    return "-" if isnan(value) else "&lt; 0.001" if form == ".2g" and value < 0.001 else f"{value:{form}}"  # noqa: PLR2004


def _text(value: Any) -> str:
    return escape(str(value), quote=True)
