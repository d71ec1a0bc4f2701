"""Writes what benches measured as a page: a table for each, with its command, and one picture of all ratios."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from feature_repo.bench.every import Runs
from feature_repo.bench.figures import flat, shown
from feature_repo.core.console import to_json
from feature_repo.core.stores import atomic_write

PAGE, PICTURE, RECORD = "RESULTS.md", "results.svg", "results.json"
_BAR_INCHES = 0.32
_WORDS = 24  # characters; a longer text is a sentence about a case, and stays in the record
_TICKS = (0.1, 0.3, 1, 3, 10, 30, 100)


def write_page(runs: Runs, directory: Path) -> list[Path]:
    """Write the page, its picture and the record they are made from; return their paths.

    Raises
    ------
    OSError
        The directory cannot be written; what was there stays.
    """
    record = json.dumps(json.loads(to_json(runs)), indent=1, ensure_ascii=False) + "\n"
    written = {PICTURE: _picture(runs), RECORD: record, PAGE: page(runs)}
    for name, content in written.items():
        atomic_write(directory / name, content)
    return [directory / name for name in written]


def page(runs: Runs) -> str:
    """Return the page as Markdown."""
    parts = [_head(runs), *(_section(name, report, runs) for name, report in runs.benches.items())]
    if runs.failed:
        parts.append("## Without a result\n\n" + "\n".join(f"- `{name}`: {why}" for name, why in runs.failed.items()))
    return "\n\n".join(parts) + "\n"


def _head(runs: Runs) -> str:
    setup = next(iter(runs.benches.values()), {}).get("setup", {})
    versions = ", ".join(f"{name} {value}" for name, value in setup.get("versions", {}).items())
    return (
        "# What was measured\n\n"
        f"By `portrait bench all --size {runs.size} --page DIR`, begun {runs.at}, "
        f"on {setup.get('cores', '?')} cores: {versions}. "
        "Ours and the peer run in turn on the same data; more than 1 means that ours is better. "
        "Where the peer is a floor, the ratio is at most 1.\n\n"
        f"![Ratios]({PICTURE})"
    )


def _section(name: str, report: Mapping[str, Any], runs: Runs) -> str:
    ours, peer = (dict(_figures(report[side])) for side in ("ours", "peer"))
    lines = [f"| {each} | {_cell(ours, each)} | {_cell(peer, each)} |" for each in dict.fromkeys([*ours, *peer])]
    against = report.get("setup", {}).get("peer", "the peer")
    return "\n".join(
        [
            f"## {name}: {report['ratio']:.2f} times the peer",
            "",
            f"`portrait bench {name} --size {runs.size}`. Compared: {report['unit']}. Peer: {against}.",
            "",
            f"| {name} | ours | peer |",
            "|---|---|---|",
            *lines,
        ]
    )


def _figures(measures: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value in flat(measures) if not (isinstance(value, str) and len(value) > _WORDS))


def _cell(measures: Mapping[str, Any], name: str) -> str:
    return shown(measures.get(name)).replace("|", "\\|")


def _picture(runs: Runs) -> str:
    """Draw a bar per bench on a logarithmic scale, whose text is text, and the same bytes for the same figures."""
    import matplotlib as mpl  # noqa: PLC0415 - half a second
    from matplotlib.figure import Figure  # noqa: PLC0415

    names = sorted(
        (name for name, report in runs.benches.items() if report["ratio"] > 0),
        key=lambda name: runs.benches[name]["ratio"],
    )
    ratios = [runs.benches[name]["ratio"] for name in names]
    sink = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "portrait"}):
        figure = Figure(figsize=(7.0, 1.0 + _BAR_INCHES * len(names)), layout="constrained")
        axes = figure.subplots()
        axes.barh(names, [math.log10(each) for each in ratios], color="#3b6ea5", height=0.6)
        for place, ratio in enumerate(ratios):
            aside, side = (4, "left") if ratio >= 1 else (-4, "right")
            axes.annotate(
                f"{ratio:.2g}", (math.log10(ratio), place), (aside, 0), textcoords="offset points", va="center", ha=side
            )
        axes.axvline(0.0, color="black", linewidth=0.8)
        ticks = [each for each in _TICKS if min([1, *ratios]) / 3 < each < max([1, *ratios]) * 3]
        axes.set_xticks([math.log10(each) for each in ticks], [f"{each:g}" for each in ticks])
        axes.margins(x=0.15)
        axes.set_xlabel("times the peer (more than 1: ours is better)")
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(sink, format="svg", metadata={"Date": None})
    return "\n".join(line.rstrip() for line in sink.getvalue().splitlines()) + "\n"
