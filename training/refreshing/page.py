"""The report of a refresh as one HTML page that needs nothing else: styles and pictures are in it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from feature_repo.core.clock import from_us
from training.monitor.drift import DriftReport, Finding, Verdict
from training.monitor.picture import drift_png
from training.refreshing.refresh import RefreshReport, TaskRefresh
from training.refreshing.steps import StepRefresh
from training.refreshing.written import WrittenRefresh

QUIET_SHOWN = 10

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; width: 100% }
th, td { text-align: left; padding: .2rem .6rem; border-bottom: 1px solid #ddd; font-variant-numeric: tabular-nums }
.alarm, .failed { color: #b3261e; font-weight: 600 } .watch { color: #9a6300 } .unknown { color: #777 }
img { max-width: 100% } h2 { margin-top: 2.5rem } .note { color: #555 }
"""


def page(report: RefreshReport) -> str:
    """Return the page. Whatever comes from a log or a declaration is escaped."""
    when = f"{from_us(report.at):%Y-%m-%d %H:%M} UTC"
    parts = [
        f"<h1>Refresh of {when}</h1>",
        _headline(report),
        _table(("task", "what was done", "champion", "trained", "why", "s"), map(_summary, report.tasks)),
        *(part for each in report.tasks for part in _task(each)),
        *_written(report.written),
        *_steps(report.steps),
        "<h2>Views</h2>",
        _table(("view", "state in Redis"), ((_text(k), _text(v)) for k, v in report.materialized.items())),
    ]
    head = f'<meta charset="utf-8"><title>Refresh of {when}</title><style>{_STYLE}</style>'
    body = "\n".join(parts)
    return f'<!doctype html>\n<html lang="en">\n<head>{head}</head>\n<body>\n{body}\n</body>\n</html>\n'


def _headline(report: RefreshReport) -> str:
    took = f"{'A dry run: nothing was written. ' if report.dry_run else ''}It took {report.seconds:.0f} s."
    if not report.needs_look:
        return f"<p>Every task is as it should be. {took}</p>"
    items = "".join(f"<li>{escape(each)}</li>" for each in report.needs_look)
    return f'<p class="failed">This needs a look:</p><ul>{items}</ul><p>{took}</p>'


def _summary(each: TaskRefresh) -> tuple[str, ...]:
    return (
        _text(each.task),
        _done(each),
        _text(each.champion),
        _text(each.trained),
        _text(each.reason),
        f"{each.seconds:.0f}",
    )


def _task(each: TaskRefresh) -> Iterator[str]:
    if each.gates:
        yield f"<h2>{escape(each.task)}: gates of version {escape(each.trained)}</h2>"
        yield _table(
            ("gate", "holds", "measured"),
            ((_text(gate), _holds(holds), _text(each.measured.get(gate, ""))) for gate, holds in each.gates.items()),
        )
    if each.drift is not None:
        yield from _drift(each.drift)


def _written(models: Sequence[WrittenRefresh]) -> Iterator[str]:
    if not models:
        return
    yield "<h2>Segments, unusual behaviour</h2>"
    yield _table(
        ("model", "what was done", "champion", "fitted", "rows written", "known", "view in Redis", "why", "s"),
        map(_of_shoppers, models),
    )
    for each in models:
        if each.gates:
            yield f"<h2>{escape(each.model)}: gates of version {escape(each.trained)}</h2>"
            yield _table(("gate", "holds"), ((_text(gate), _holds(holds)) for gate, holds in each.gates.items()))


def _steps(steps: Sequence[StepRefresh]) -> Iterator[str]:
    if steps:
        yield "<h2>And then</h2>"
        yield _table(("step", "what was done", "s"), map(_step, steps))


def _step(each: StepRefresh) -> tuple[str, ...]:
    done = f'<span class="failed">{escape(each.done)}</span>' if each.needs_look else escape(each.done)
    return _text(each.step), done, f"{each.seconds:.0f}"


def _of_shoppers(each: WrittenRefresh) -> tuple[str, ...]:
    rows = (f"{each.written.rows:,}", f"{each.written.known:,}") if each.written else ("", "")
    return (
        _text(each.model),
        _done(each),
        _text(each.champion),
        _text(each.trained),
        *rows,
        _text(each.view),
        _text(each.reason),
        f"{each.seconds:.0f}",
    )


def _done(each: TaskRefresh | WrittenRefresh) -> str:
    return f'<span class="failed">{escape(each.action)}</span>' if each.needs_look else escape(each.action)


def _holds(holds: bool) -> str:
    return "yes" if holds else '<span class="failed">no</span>'


def _drift(report: DriftReport) -> Iterator[str]:
    yield f"<h2>{escape(report.task)}: drift met by version {escape(report.model_version)}</h2>"
    yield (
        f'<p class="note">The week before {from_us(report.at):%Y-%m-%d %H:%M} UTC against the eight before '
        f"{from_us(report.since):%Y-%m-%d %H:%M} UTC. A signal alarms when its PSI passes 0.25 (0.1 for events), "
        "twice the most that quiet weeks show, and what sampling alone explains; its share of NULL from a tenth on.</p>"
    )
    picture = b64encode(drift_png(report)).decode()
    yield f'<img alt="PSI of each signal beside its limit" src="data:image/png;base64,{picture}">'
    loud = [each for each in report.findings if each.verdict in (Verdict.ALARM, Verdict.WATCH)]
    quiet = [each for each in report.findings if each not in loud]
    headers = ("verdict", "what", "kind", "PSI", "alarm above", "quiet weeks", "NULL then", "now", "shoppers")
    yield _table(headers, map(_finding, [*loud, *quiet[:QUIET_SHOWN]]))


def _finding(each: Finding) -> tuple[str, ...]:
    return (
        f'<span class="{each.verdict}">{each.verdict}</span>',
        _text(each.name),
        _text(each.kind),
        *(f"{value:.3f}" for value in (each.psi, each.limit, each.quiet)),
        *(f"{value:.1%}" for value in (each.null_then, each.null_now)),
        f"{each.shoppers:,}",
    )


def _text(value: str) -> str:
    return escape(value)


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(each)}</th>" for each in headers)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
