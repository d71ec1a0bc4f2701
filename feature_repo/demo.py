"""`portrait demo`: the main job on real data, as a script of the other commands.

It runs commands through the registry and imports none of the packages behind them.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from feature_repo.cli import command
from feature_repo.core.console import Json, command_group, emit, example, note, table

app = command_group()

Live = Annotated[bool, typer.Option("--live", help="Let a shopper come by; alone, where the demo was run before.")]

SHOPPERS = 5
CHECKED_SHOPPERS = 20
SEGMENTS = 5  # trying every number, as `portrait segments fit` does, takes some ten seconds more, and finds five


@dataclass(frozen=True)
class DemoReport:
    """What the demo did.

    Attributes
    ----------
    steps
        Step -> seconds.
    loaded, rejected
        Table -> rows in the log; reason -> rows refused.
    metrics, baselines
        Of the redemption model on its test campaigns; baseline -> the same metrics.
    model_version
        Registered version of ``redemption``.
    promoted
        Whether it is champion.
    parity
        Values compared between Redis and the log, and how many differ.
    segments, tiers
        Segment -> shoppers in it; how unusual -> shoppers.
    profile, scores
        One shopper's portrait; five shoppers' predictions.
    """

    steps: dict[str, float]
    loaded: dict[str, int]
    rejected: dict[str, int]
    metrics: dict[str, float]
    baselines: dict[str, dict[str, float]]
    model_version: str
    promoted: bool
    parity: dict[str, int]
    segments: dict[str, int]
    tiers: dict[str, int]
    profile: Any
    scores: Any


@dataclass
class _Script:
    seconds: dict[str, float] = field(default_factory=dict)
    text: dict[str, str] = field(default_factory=dict)

    def run(self, words: str, **arguments: Any) -> Any:
        """Run a command; keep what it prints and how long it took."""
        note(f"portrait {words} ...")
        started, printed = time.monotonic(), io.StringIO()
        with redirect_stdout(printed):
            report = command(words)(**arguments)
        self.seconds[words] = round(time.monotonic() - started, 2)
        self.text[words] = printed.getvalue()
        return report


@app.command("demo", epilog=example("portrait demo", "portrait demo --live"))
def demo(*, live: Live = False, as_json: Json = False) -> object:
    """Run the main job on real data: load, declare, segment, train, register, serve."""
    script = _Script()
    script.run("up")
    if not live:
        report = _main_job(script)
        emit(report, as_json, lambda found: _render(found, script.text))
        return report
    before = {} if _is_built(script.run("jobs status")) else vars(_loaded(script))
    visit = command("visit")()
    both = {"steps": script.seconds} | before | vars(visit)
    emit(both, as_json, lambda _: _next_live(visit.user_id))
    return both


def _is_built(status: Any) -> bool:
    """Whether the demo, or something like it, is in this home: views with a state, and purchases."""
    purchases = any(table.name == "purchase" and table.files for table in status.tables)
    return purchases and bool(status.views) and not any(view.why for view in status.views)


def _loaded(script: _Script) -> DemoReport:
    report = _main_job(script)
    _render(report, script.text)
    _section("A shopper comes by", lambda: None)
    return report


def _next_live(user: str) -> None:
    commands = (
        ("portrait jobs consume", "follow the stream; Ctrl-C ends it"),
        ("portrait jobs status", "what waits, and which views are behind"),
        (f"portrait profile {user}", "the shopper who came by"),
    )
    sys.stdout.write("\n" + "".join(f"  {words:<66}# {why}\n" for words, why in commands))


def _main_job(script: _Script) -> DemoReport:
    loaded = script.run("events demo")
    script.run("features apply")
    script.run("segments fit", k=SEGMENTS, if_changed=True)
    placed = script.run("segments assign").show
    script.run("unusual fit", if_changed=True)
    judged = script.run("unusual assign").show
    script.run("jobs habits")
    script.run("jobs materialize")
    trained = script.run("train", task="redemption", if_changed=True)["tasks"]["redemption"]
    stats = script.run("events stats")["tables"]
    checked = script.run("jobs parity", users=CHECKED_SHOPPERS)
    scores = script.run("predict", task="redemption", users=list(checked.sampled[:SHOPPERS]))
    likeliest = max(scores, key=lambda score: float(score.value))
    profile = script.run("profile", user=likeliest.user_id)
    return DemoReport(
        steps=script.seconds,
        loaded={each.name: each.rows for each in stats},
        rejected=loaded.quarantined,
        metrics=trained["metrics"],
        baselines=trained["baselines"],
        model_version=trained["model_version"],
        promoted=trained["promoted"],
        parity={"checked": checked.checked, "mismatches": checked.mismatches},
        segments={each.segment: each.size for each in placed.segments},
        tiers={each.tier: each.size for each in judged.tiers},
        profile=profile,
        scores={"scores": scores.scores},
    )


def _render(report: DemoReport, text: dict[str, str]) -> None:
    refused = ", ".join(f"{reason} {rows:,}" for reason, rows in report.rejected.items())
    _section("What was loaded", lambda: table(["table", "rows"], [(k, f"{v:,}") for k, v in report.loaded.items()]))
    sys.stdout.write(f"refused, kept in quarantine with the reason: {refused}\n")
    _section("The model, beside its baselines", lambda: sys.stdout.write(text["train"]))
    _section("Will they redeem a coupon of the next campaign?", lambda: sys.stdout.write(text["predict"]))
    _section("The likeliest of them", lambda: sys.stdout.write(text["profile"]))
    _section("Segments, and stages of life", lambda: sys.stdout.write(text["segments assign"]))
    _section("Who is unusual, which is no accusation", lambda: sys.stdout.write(text["unusual assign"]))
    same = f"{report.parity['checked']:,} values compared, {report.parity['mismatches']} differ"
    _section("Does Redis say what the log says?", lambda: sys.stdout.write(same + "\n"))
    _section("Seconds", lambda: table(["step", "s"], [(k, f"{v:.1f}") for k, v in report.steps.items()]))
    _section("What to try next", lambda: sys.stdout.write(_next(report)))


def _section(title: str, body: Callable[[], object]) -> None:
    sys.stdout.write(f"\n{title}\n{'-' * len(title)}\n")
    body()


def _next(report: DemoReport) -> str:
    user = report.profile.user_id
    commands = (
        (f"portrait profile {user}", "the portrait above, again"),
        (f"portrait predict redemption {user}", "one prediction"),
        (f"portrait tags show {user}", "words about one shopper, and why they are so"),
        ("portrait tags compute", "the tags of everybody, as a snapshot"),
        ("portrait segments assign --weeks 12", "where everybody was, week by week"),
        ("portrait refresh", "everything once more, if the log has gone on"),
        ("portrait features list", "what is declared, in English and Chinese"),
        ("portrait jobs parity --users 200", "compare Redis with the log"),
        ("portrait demo --live", "a shopper comes by, and the profile follows"),
        ("portrait status", "Redis is still running; `portrait down` stops it"),
    )
    return "".join(f"  {words:<66}# {why}\n" for words, why in commands)
