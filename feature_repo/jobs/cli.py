"""Commands on the services, the event log, the declared features and the jobs.

Each group below is an entry point of ``portrait.commands`` (pyproject.toml). This module is imported for every
``portrait --help``, so what a command needs is imported in its body; typer evaluates the annotations of a command, so
they name only what is imported here.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from feature_repo.core.console import Json, command_group, emit, example, progress, table

if TYPE_CHECKING:
    from feature_repo.events.demo import LoadReport
    from feature_repo.events.simulation import SimulationReport
    from feature_repo.events.simulation_plan import Plan
    from feature_repo.events.simulation_player import PlayReport
    from feature_repo.events.stats import TableStats
    from feature_repo.jobs.features import ApplyReport, Description, FeatureLine
    from feature_repo.jobs.materialize import MaterializeReport
    from feature_repo.jobs.parity import ParityReport
    from feature_repo.jobs.services import ServiceStatus

Views = Annotated[list[str] | None, typer.Option("--views", help="Only this view; may be repeated.")]
Full = Annotated[
    bool, typer.Option("--full", help="Build anew; readers keep the old state until the new one is whole.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and write nothing.")]
Users = Annotated[int, typer.Option("--users", min=1, help="How many shoppers to sample.")]
Shoppers = Annotated[int, typer.Option("--users", help="How many shoppers.")]
Events = Annotated[int, typer.Option("--events", help="About how many events.")]
Seed = Annotated[int, typer.Option("--seed", help="Which shop: the same seed is the same shop.")]
Days = Annotated[int, typer.Option("--days", help="Days of history, up to now.")]
Late = Annotated[float, typer.Option("--late", help="Share that arrives an hour to two days late.")]
Duplicates = Annotated[float, typer.Option("--duplicates", help="Share that is sent twice.")]
Malformed = Annotated[float, typer.Option("--malformed", help="Share of which a broken copy is sent too.")]
Live = Annotated[
    float | None,
    typer.Option("--live", metavar="RATE", help="Send into the stream instead: RATE events a second, as if now."),
]
Seconds = Annotated[float | None, typer.Option("--seconds", help="With --live: how long; until interrupted if unsaid.")]

services = command_group()


@services.command(epilog=example("portrait up", "portrait up --json"))
def up(*, as_json: Json = False) -> object:
    """Start the embedded Redis, or tell that it runs already."""
    from feature_repo.core.clock import SystemClock  # noqa: PLC0415
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from feature_repo.jobs.services import up as start  # noqa: PLC0415

    return _emit(start(load_settings(), SystemClock()), as_json)


@services.command(epilog=example("portrait down"))
def down(*, as_json: Json = False) -> object:
    """Stop the embedded Redis; its data stays, with every write on disk."""
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from feature_repo.jobs.services import down as stop  # noqa: PLC0415

    return _emit(stop(load_settings()), as_json)


@services.command(epilog=example("portrait status", "portrait status --json"))
def status(*, as_json: Json = False) -> object:
    """Tell which services run, where, and since when."""
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from feature_repo.jobs.services import status as describe  # noqa: PLC0415

    return _emit(describe(load_settings()), as_json)


def _emit(redis: ServiceStatus, as_json: bool) -> object:
    report = {"redis": redis}
    emit(report, as_json, _render)
    return report


def _render(report: dict[str, ServiceStatus]) -> None:
    for name, service in report.items():
        sys.stdout.write(f"{name:<8}{_sentence(service)}\n")


def _sentence(service: ServiceStatus) -> str:
    if not service.running:
        return ", ".join(fact for fact in (service.kind, service.url, "not running") if fact) + f": {service.detail}"
    since = f"since {service.started_at:%Y-%m-%d %H:%M:%S} UTC" if service.started_at else ""
    size = f"{service.keys:,} keys, {service.memory_bytes / 2**20:,.1f} MiB" if service.memory_bytes is not None else ""
    saved = {True: "writes are on disk", False: "WRITES DO NOT REACH THE DISK", None: ""}[service.persistence_ok]
    version = f"version {service.version}" if service.version else ""
    process = f"process {service.pid}" if service.pid is not None else ""
    facts = (service.kind, service.url, version, process, since, size, saved)
    return ", ".join(fact for fact in facts if fact)


events = command_group("events", "The event log: what happened.")


@events.command("demo", epilog=example("portrait events demo"))
def events_demo(*, as_json: Json = False) -> object:
    """Load Complete Journey, a year of one grocery chain, shifted so that it ends now."""
    from feature_repo.core.clock import SystemClock  # noqa: PLC0415
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from feature_repo.events.demo import load_demo  # noqa: PLC0415

    with progress("Loading events") as step:
        report = load_demo(load_settings(), SystemClock(), progress=step)
    emit(report, as_json, _render_load)
    return report


@events.command(
    "simulate",
    epilog=example(
        "portrait events simulate --users 1000 --events 100000 --seed 7",
        "portrait events simulate --live 200 --seconds 60",
    ),
)
def events_simulate(
    *,
    users: Shoppers = 1000,
    count: Events = 100_000,
    seed: Seed = 0,
    days: Days = 180,
    late: Late = 0.02,
    duplicates: Duplicates = 0.01,
    malformed: Malformed = 0.002,
    live: Live = None,
    seconds: Seconds = None,
    as_json: Json = False,
) -> object:
    """Write the clickstream of a simulated shop that ends now; a second run adds nothing.

    With --live the shop goes on behind its end, and its events are sent into the stream one after the other, RATE a
    second: its time is compressed or stretched to that rate, every run's events are new, and each arrives as it is
    sent. Read them with `portrait jobs consume`.
    """
    from feature_repo.core.clock import SystemClock  # noqa: PLC0415
    from feature_repo.core.errors import DataError  # noqa: PLC0415
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from feature_repo.events.simulation import simulate  # noqa: PLC0415
    from feature_repo.events.simulation_plan import Plan  # noqa: PLC0415

    now = SystemClock().now_us()
    plan = Plan(seed, users, count, now, days=days, late=late, duplicates=duplicates, malformed=malformed)
    if live is not None:
        return _play_live(plan, live, seconds, as_json)
    if seconds is not None:
        raise DataError("--seconds is for --live.", hint="say both, or neither.")
    with progress("Simulating") as step:
        report = simulate(load_settings(), plan, progress=step)
    emit(report, as_json, _render_simulation)
    return report


def _play_live(plan: Plan, rate: float, seconds: float | None, as_json: bool) -> object:
    from feature_repo.core.clock import SystemClock  # noqa: PLC0415
    from feature_repo.core.settings import ensure_home, load_settings  # noqa: PLC0415
    from feature_repo.events.simulation_plan import settle  # noqa: PLC0415
    from feature_repo.events.simulation_player import play_live  # noqa: PLC0415
    from feature_repo.events.stream.open import open_channel  # noqa: PLC0415

    settings = load_settings()
    plan, channel = settle(ensure_home(settings), plan), open_channel(settings)
    length = math.inf if seconds is None else seconds
    with progress("Playing") as step:
        report = play_live(settings, plan, channel, SystemClock(), rate=rate, seconds=length, progress=step)
    emit(report, as_json, _render_play)
    return report


@events.command("stats", epilog=example("portrait events stats"))
def events_stats(*, as_json: Json = False) -> object:
    """Say what the log holds: rows, shoppers, time span, version, and what was refused."""
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from feature_repo.events.stats import log_stats  # noqa: PLC0415
    from feature_repo.jobs.log_tables import missing_tables  # noqa: PLC0415

    settings = load_settings()
    tables, missing = log_stats(settings), missing_tables(settings)
    report = {"tables": tables, "missing": missing}
    emit(report, as_json, lambda _: _render_stats(tables, missing))
    return report


features = command_group("features", "Declared features and the registry.")


@features.command("apply", epilog=example("portrait features apply"))
def features_apply(*, as_json: Json = False) -> object:
    """Write the declarations to the registry; create tables the log lacks."""
    from feature_repo.core.feast_import import keep_feast_checks  # noqa: PLC0415

    keep_feast_checks()  # declarations of wrong types are refused by them
    from feature_repo.jobs.features import apply  # noqa: PLC0415

    report = apply()
    emit(report, as_json, _render_apply)
    return report


@features.command("list", epilog=example("portrait features list", "portrait features list --json"))
def features_list(*, as_json: Json = False) -> object:
    """List every feature with its meaning, in English and Chinese."""
    from feature_repo.jobs.features import catalogue  # noqa: PLC0415

    report = {"features": catalogue()}
    emit(report, as_json, lambda found: _render_features(found["features"]))
    return report


@features.command("describe", epilog=example("portrait features describe user_payments"))
def features_describe(name: str, *, as_json: Json = False) -> object:
    """Tell all about one view or feature service."""
    from feature_repo.jobs.features import describe  # noqa: PLC0415

    report = describe(name)
    emit(report, as_json, _render_description)
    return report


jobs = command_group("jobs", "What operators run.")


@jobs.command(
    "materialize", epilog=example("portrait jobs materialize", "portrait jobs materialize --views user_payments")
)
def jobs_materialize(
    *, views: Views = None, full: Full = False, dry_run: DryRun = False, as_json: Json = False
) -> object:
    """Bring Redis to the head of the event log; a second run finds nothing to do."""
    from feature_repo.core.clock import SystemClock  # noqa: PLC0415
    from feature_repo.core.errors import ViewsRefusedError  # noqa: PLC0415
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from feature_repo.jobs.materialize import materialize  # noqa: PLC0415

    try:
        with progress("Materializing") as step:
            report = materialize(load_settings(), SystemClock(), views=views, full=full, dry_run=dry_run, progress=step)
    except ViewsRefusedError as error:
        emit(error.report, as_json, _render_materialize)
        raise
    emit(report, as_json, _render_materialize)
    return report


@jobs.command("parity", epilog=example("portrait jobs parity --users 200"))
def jobs_parity(*, users: Users = 200, views: Views = None, as_json: Json = False) -> object:
    """Compare Redis with the log for some shoppers, now; exit 1 if any value differs."""
    from feature_repo.core.clock import SystemClock  # noqa: PLC0415
    from feature_repo.core.errors import CheckFailedError  # noqa: PLC0415
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from feature_repo.jobs.causes import Cause  # noqa: PLC0415
    from feature_repo.jobs.parity import parity  # noqa: PLC0415

    with progress("Comparing") as step:
        report = parity(load_settings(), SystemClock(), users=users, views=views, progress=step)
    emit(report, as_json, _render_parity)
    if report.mismatches:
        [(commonest, _)] = Counter(report.by_cause).most_common(1)
        raise CheckFailedError(
            f"{report.mismatches} of {report.checked} values differ between Redis and the log.",
            hint=f"{Cause.of(commonest).remedy}.",
        )
    return report


def _render_load(report: LoadReport) -> None:
    table(["table", "rows"], [(name, f"{rows:,}") for name, rows in report.published.items()])
    sys.stdout.write(
        f"\n{report.read:,} rows read, {report.duplicates:,} of them known already, {report.seconds:.1f} s\n"
    )
    refused = ", ".join(f"{reason} {rows:,}" for reason, rows in report.quarantined.items()) or "none"
    sys.stdout.write(f"refused (in the table 'quarantine'): {refused}\n")
    sys.stdout.write(f"moved by {report.shift_weeks} weeks of local time, so that the year ends now\n\n")
    table(["cleaning rule", "rows"], [(rule, f"{rows:,}") for rule, rows in report.rules.items()])


def _render_simulation(report: SimulationReport) -> None:
    table(["table", "rows"], [(name, f"{rows:,}") for name, rows in report.published.items()])
    refused = ", ".join(f"{reason} {rows:,}" for reason, rows in report.quarantined.items()) or "none"
    sys.stdout.write(
        f"\n{report.read:,} rows sent, {report.late:,} of them late; {report.duplicates:,} known already\n"
        f"refused (in the table 'quarantine'): {refused}\n"
        f"{report.events:,} events in {report.seconds:.1f} s, {report.events_per_s:,.0f} a second\n"
    )


def _render_play(report: PlayReport) -> None:
    sys.stdout.write(
        f"{report.sent:,} events sent in {report.seconds:.1f} s, {report.events_per_s:,.0f} a second: "
        f"{report.late:,} late, {report.duplicates:,} sent twice, {report.malformed:,} malformed "
        "(who reads them fills in a missing id or time, and refuses a raw id)\n"
    )


def _render_stats(tables: Sequence[TableStats], missing: Sequence[str]) -> None:
    if not tables:
        sys.stdout.write("The event log is empty. Load some events: portrait events demo\n")
        return
    table(
        ["table", "rows", "shoppers", "from", "to", "version", "MiB", "refused"],
        [
            (
                each.name,
                f"{each.rows:,}",
                "" if each.users is None else f"{each.users:,}",
                f"{each.first:%Y-%m-%d %H:%M}" if each.first else "",
                f"{each.last:%Y-%m-%d %H:%M}" if each.last else "",
                each.version,
                f"{each.bytes / 2**20:.1f}",
                f"{sum(each.quarantined.values()):,}" if each.quarantined else "",
            )
            for each in tables
        ],
    )
    refused = [(each.name, reason, f"{rows:,}") for each in tables for reason, rows in sorted(each.quarantined.items())]
    if refused:
        sys.stdout.write("\n")
        table(["table", "refused because of", "rows"], refused)
    for name in missing:
        sys.stdout.write(
            f"\nMISSING: table '{name}', which a feature view reads. Restore it from a backup, or import its events.\n"
        )


def _render_apply(report: ApplyReport) -> None:
    for change in report.changes:
        sys.stdout.write(f"{change.change:<8}{change.kind:<24}{change.name}\n")
    for name in report.tables:
        sys.stdout.write(f"{'create':<8}{'log table':<24}{name}, empty\n")
    sys.stdout.write(f"{len(report.changes)} changes, {report.objects} objects declared\n")


def _render_features(lines: Sequence[FeatureLine]) -> None:
    table(
        ["feature", "type", "entity", "meaning", "含义"],
        [(f"{line.view}:{line.feature}", line.dtype, line.entity, line.description, line.zh) for line in lines],
    )


def _render_description(found: Description) -> None:
    sys.stdout.write(f"{found.name}: {found.kind}, owned by {found.owner}\n{found.description}\n{found.zh}\n")
    facts = {
        "entities": ", ".join(found.entities),
        "source": found.source,
        "hop": f"{found.hop_s:,.0f} s" if found.hop_s else "",
        "state": ", ".join(found.state),
    }
    sys.stdout.writelines(f"{name}: {fact}\n" for name, fact in facts.items() if fact)
    sys.stdout.write("\n")
    _render_features(found.features)


def _render_materialize(report: MaterializeReport) -> None:
    table(
        ["view", "action", "log version", "entities", "why"],
        [(each.view, each.action, each.version, f"{each.entities:,}", each.why) for each in report.views]
        + [(name, "refused", "", "", "") for name in report.refused],
    )
    sys.stdout.write(f"\n{report.seconds:.1f} s\n")


def _render_parity(report: ParityReport) -> None:
    sys.stdout.write(
        f"{report.checked:,} values of {len(report.sampled)} shoppers compared, {report.mismatches:,} differ\n"
    )
    for title, counts in (("view", report.by_view), ("feature", report.by_feature)):
        if counts:
            table([title, "differ"], list(counts.items()))
    if report.by_cause:
        from feature_repo.jobs.causes import Cause  # noqa: PLC0415

        rows = [(words, count, Cause.of(words).remedy) for words, count in report.by_cause.items()]
        table(["cause", "differ", "what to do"], rows)
