"""One shopper's portrait with the reasons of every score, as one page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feature_repo.core.errors import DataError, PortraitError, SettingsError
from feature_repo.engine.retrieval import replacing
from serving.profile import Profile
from serving.reasons.answers import Segment
from serving.reasons.explanation import Explanation, Reason
from serving.reasons.sentences import number
from serving.reasons.shown import dimension_words
from serving.tags.html import STYLE as TAG_STYLE
from serving.tags.html import tag_parts

if TYPE_CHECKING:
    from serving.sdk import ProfileClient

# Nothing is fetched and nothing runs, whatever a value of the log says.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --up: #c2410c; --down: #1d4ed8; }
@media (prefers-color-scheme: dark) { :root { --up: #fb923c; --down: #93c5fd; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2.5rem; }
h3 { font-size: 1rem; margin-bottom: .3rem; } code { font-size: .85em; overflow-wrap: anywhere; }
p.note, small, .zh { opacity: .75; } table { border-collapse: collapse; width: 100%; }
th { text-align: left; font-weight: 500; opacity: .75; } th, td { padding: .3rem .6rem .3rem 0; vertical-align: top; }
tr + tr td { border-top: 1px solid var(--line); } td.number { text-align: right; white-space: nowrap; }
.score { font-size: 1.6rem; font-weight: 600; } .bar { display: flex; width: 9rem; height: .8rem; margin-top: .35rem; }
.half { width: 50%; display: flex; }
.half:first-child { justify-content: flex-end; border-right: 1px solid var(--line); }
.half i { display: block; height: 100%; } i.up { background: var(--up); } i.down { background: var(--down); }
table.reasons, table.facts { table-layout: fixed; } .facts td { width: 40%; } .facts td.number { width: 20%; }
.reasons > tbody > tr > td:first-child { width: 10rem; } .reasons > tbody > tr > td:nth-child(2) { width: 5rem; }
details { margin: .2rem 0; } summary { cursor: pointer; }
"""


@dataclass(frozen=True)
class Unexplained:
    """A task whose champion does not say why, and what is the matter.

    ``about_more``: it is about more than the shopper, and was not told what.
    """

    task: str
    why: str
    about_more: bool = False


def write_page(portrait: ProfileClient, profile: Profile, path: Path) -> None:
    """Write a shopper's page; it appears whole or not at all.

    Raises
    ------
    SettingsError
        The file cannot be written.
    ModelUnavailableError, StoreUnavailableError
        MLflow or Redis does not answer. A champion that cannot answer is named on the page, with what is the matter.
    """
    text = page(
        profile,
        segment_of(portrait, profile.user_id),
        [explained(portrait, profile.user_id, task) for task in portrait.tasks()],
    )
    try:
        with replacing(path) as partial:
            partial.touch(mode=0o600)  # it is about a person
            partial.write_text(text, "utf-8")
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}.", hint="name another file.") from None


def page(profile: Profile, segment: Segment | None, scores: Iterable[Explanation | Unexplained]) -> str:
    """Return the page as HTML."""
    reasons = (part for score in scores for part in _score(score))
    parts = [*_head(profile, segment), *tag_parts(profile), *reasons, *_facts(profile)]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">'
        f"<title>Portrait {_text(profile.user_id)}</title><style>{_STYLE}{TAG_STYLE}</style></head><body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def explained(portrait: ProfileClient, user: str, task: str) -> Explanation | Unexplained:
    """Ask the champion of a task why it answers as it does about a shopper."""
    try:
        return portrait.explain(task, user)
    except DataError:
        why = f"Its model is about more than the shopper: portrait explain {task} USER --about ..."
        return Unexplained(task, why, about_more=True)
    except PortraitError as error:
        return Unexplained(task, f"{error.what} {error.hint}".strip())


def segment_of(portrait: ProfileClient, user: str) -> Segment | None:
    """Return where a shopper was last placed; None where that cannot be read."""
    try:
        return portrait.segment(user)
    except PortraitError:  # no segmentation here, or not written yet
        return None


def _head(profile: Profile, segment: Segment | None) -> Iterator[str]:
    fresh = profile.freshness
    last = number(fresh.last_event_at) if fresh.last_event_at else "none in the windows"
    yield f"<h1>Shopper 顾客 <code>{_text(profile.user_id)}</code></h1>"
    yield f'<p class="note">Last event 最近事件: {_text(last)}. Read at {_text(number(fresh.read_at))}.</p>'
    if not profile.known:
        yield "<p><strong>Never seen: these are the values of a shopper without events. 未知顾客</strong></p>"
    if segment is not None and segment.known:
        for title, word in (("Segment 分群", segment.segment), ("Stage 阶段", segment.stage)):
            if word is not None:
                said = f"{word.english} {word.chinese}: {word.meaning}"
                yield f"<p>{title}: <strong>{_text(said)}</strong></p>"


def _score(score: Explanation | Unexplained) -> Iterator[str]:
    yield f"<h2>{_text(score.task)}</h2>"
    if isinstance(score, Unexplained):
        yield f'<p class="note">{_text(score.why)}</p>'
        return
    yield (
        f'<p><span class="score">{score.value:,.4f}</span> <small>{_text(score.model)}; margin before calibration '
        f"{score.margin:+.4f} = base {score.base:+.4f} and all that follows</small></p>"
    )
    largest = max((abs(reason.contribution) for reason in score.reasons), default=0.0)
    for dimension, added in score.dimensions.items():
        english, chinese = dimension_words(dimension)
        yield f'<h3>{_text(english)} <span class="zh">{_text(chinese)}</span> <small>{added:+.4f}</small></h3>'
        rows = [_reason(reason, largest) for reason in score.reasons if reason.dimension == dimension]
        yield f'<table class="reasons">{"".join(rows)}</table>'
    if score.defaults:
        yield f'<p class="note">By default: {_text(", ".join(score.defaults))}.</p>'
    if score.missing:
        yield f'<p class="note">Not known (NULL): {_text(", ".join(score.missing))}.</p>'


def _reason(reason: Reason, largest: float) -> str:
    share = 100 * abs(reason.contribution) / largest if largest else 0.0
    kind = "up" if reason.contribution >= 0 else "down"
    filled = f'<i class="{kind}" style="width:{share:.0f}%"></i>'
    left, right = ("", filled) if kind == "up" else (filled, "")
    return (
        f'<tr><td><div class="bar"><div class="half">{left}</div><div class="half">{right}</div></div></td>'
        f'<td class="number">{reason.contribution:+.4f}</td><td>{_text(reason.sentence)}'
        f'<br><span class="zh">{_text(reason.zh)}</span>{_behind(reason)}</td></tr>'
    )


def _behind(reason: Reason) -> str:
    lines = [
        f"<tr><td><code>{_text(part.name)}</code></td><td>{_text(number(part.value))}</td>"
        f'<td class="number">{part.contribution:+.4f}</td></tr>'
        for part in reason.parts
    ]
    windows = [
        f"<tr><td><code>{_text(trace.name)}</code></td><td>{_text(number(trace.value))}</td>"
        f"<td>{_text(trace.table)} [{_text(number(trace.since))}, {_text(number(trace.until))})</td></tr>"
        for trace in reason.traces
    ]
    return f"<details><summary><small>Values</small></summary><table>{''.join([*lines, *windows])}</table></details>"


def _facts(profile: Profile) -> Iterator[str]:
    for name, facts in profile.dimensions.items():
        if not facts:
            continue
        english, chinese = dimension_words(name)
        yield f'<h2>{_text(english)} <span class="zh">{_text(chinese)}</span></h2>'
        rows = [
            f'<tr><td>{_text(fact.description)}<br><span class="zh">{_text(fact.zh)}</span></td>'
            f'<td class="number">{_text("-" if fact.value is None else number(fact.value))}</td>'
            f"<td><code>{_text(fact.name)}</code></td></tr>"
            for fact in facts
        ]
        yield f'<table class="facts">{"".join(rows)}</table>'


def _text(value: Any) -> str:
    return escape(str(value), quote=True)
