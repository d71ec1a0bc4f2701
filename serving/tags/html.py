"""Tags as HTML, for the page of a portrait: by dimension, with strength, what they were made of, and since when."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from serving.profile import Profile
from serving.reasons.shown import dimension_words
from serving.tags.answers import TagValue
from serving.tags.shown import evidence_text, value_text

STYLE = """
table.tags { table-layout: fixed; } .tags td { width: 26%; } .tags td.word { width: 18%; font-weight: 600; }
.tags td.meter { width: 14%; } .tags td:last-child { width: 16%; white-space: nowrap; } meter { width: 5rem; }
.tags small { overflow-wrap: anywhere; }
"""


def tag_parts(profile: Profile) -> Iterator[str]:
    """Yield the sections of a portrait's tags; of those that are not known, one line that says why."""
    if not profile.tags:
        return
    yield '<h2>Tags <span class="zh">标签</span></h2>'
    for name, tags in profile.tagged.items():
        if tags:
            english, chinese = dimension_words(name)
            yield f'<h3>{_text(english)} <span class="zh">{_text(chinese)}</span></h3>'
            yield f'<table class="tags">{"".join(map(_row, tags))}</table>'
    unknown = [tag for tag in profile.tags if tag.value is None]
    if unknown:
        rows = "".join(f"<p><small>{_text(tag.english)}: {_text(tag.unknown)}</small></p>" for tag in unknown)
        yield f"<details><summary>{len(unknown)} tags are not known 未知标签</summary>{rows}</details>"


def _row(tag: TagValue) -> str:
    word = _text(tag.word) if tag.word == tag.zh else f'{_text(tag.word)} <span class="zh">{_text(tag.zh)}</span>'
    meter = "" if tag.strength is None else f'<meter min="0" max="1" value="{tag.strength:.2f}"></meter>'
    title = f"{tag.strength:.2f}" if tag.strength is not None else ""
    return (
        f'<tr><td>{_text(tag.english)}<br><span class="zh">{_text(tag.chinese)}</span></td>'
        f'<td class="word">{word}<br><code>{_text(value_text(tag))}</code></td>'
        f'<td class="meter">{meter}<br><small>{title}</small></td>'
        f"<td><small>{_text(evidence_text(tag))}</small></td><td><small>{tag.as_of:%Y-%m-%d %H:%M}</small></td></tr>"
    )


def _text(text: str) -> str:
    return escape(text, quote=True)
