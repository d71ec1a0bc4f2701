"""Commands of tags: `portrait tags list`, `describe`, `show`, `compute`.

This module is imported for every ``portrait --help``, so what a command needs is imported in its body.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from feature_repo.core.console import Json, command_group, emit, example, progress, table

if TYPE_CHECKING:
    from feature_repo.definitions.tag_kinds import Tag
    from serving.tags.answers import ShopperTags
    from serving.tags.compute import ComputeReport

tags = command_group("tags", "Words about shoppers: by facts, rules and models.")

Name = Annotated[str, typer.Argument(help="Name of a tag.", metavar="NAME")]
User = Annotated[str, typer.Argument(help="Raw id or pseudonym of a shopper.", metavar="USER")]
At = Annotated[datetime | None, typer.Option("--at", help="Instant, UTC; now unless given.")]
Counted = Annotated[bool, typer.Option("--counts", help="Say how many shoppers have each value now; of a draft, too.")]

_SHOWN_VALUES = 4


@tags.command("list", epilog=example("portrait tags list", "portrait tags list --json"))
def tags_list(*, as_json: Json = False) -> object:
    """List every tag that is declared."""
    from serving.tags.declared import declared_tags  # noqa: PLC0415

    found = declared_tags()
    emit({"tags": [_facts(tag) for tag in found]}, as_json, lambda _: _render_list(found))
    return found


@tags.command(
    "describe", epilog=example("portrait tags describe churn_risk", "portrait tags describe regular --counts")
)
def tags_describe(name: Name, *, counts: Counted = False, as_json: Json = False) -> object:
    """Show what a tag means, what it is made of, and who answers for it."""
    from serving.tags.declared import declared_tag  # noqa: PLC0415

    tag = declared_tag(name)
    report = _facts(tag) | {"sql": tag.value.sql, "strength_sql": tag.strength.sql}
    if counts:
        report["counts"] = _counted(tag)
    emit(report, as_json, lambda _: _render_description(tag, report))
    return report


@tags.command("show", epilog=example("portrait tags show 2375", "portrait tags show 2375 --json"))
def tags_show(user: User, *, as_json: Json = False) -> object:
    """Show a shopper's tags now, with what they were made of."""
    from serving.sdk import ProfileClient  # noqa: PLC0415

    with ProfileClient() as portrait:
        report = portrait.tags(user)
    emit(report, as_json, _render_shopper)
    return report


@tags.command("compute", epilog=example("portrait tags compute", "portrait tags compute --at 2026-11-24"))
def tags_compute(*, at: At = None, as_json: Json = False) -> object:
    """Compute the tags of everybody from the log, now or at an instant, and write a snapshot for audiences."""
    from feature_repo.core.clock import SystemClock, to_us  # noqa: PLC0415
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from serving.tags.compute import compute  # noqa: PLC0415

    instant = None if at is None else to_us(at.replace(tzinfo=at.tzinfo or UTC))
    with progress("Computing tags") as step:
        report = compute(load_settings(), SystemClock(), at=instant, progress=step)
    emit(report, as_json, _render_compute)
    return report


def _facts(tag: Tag) -> dict[str, Any]:
    names = ("name", "english", "chinese", "description", "owner", "version", "lifecycle", "dimension", "kind")
    fresh = None if tag.fresh is None else tag.fresh.days
    facts = {name: getattr(tag, name) for name in names}
    return {**facts, "fresh_days": fresh, "values": dict(tag.values), "made_of": tag.columns}


def _counted(tag: Tag) -> dict[Any, int]:
    from feature_repo.core.clock import SystemClock  # noqa: PLC0415
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from serving.tags.compute import everybody  # noqa: PLC0415

    with progress("Counting") as step:
        found = everybody(load_settings(), [tag], SystemClock().now_us(), progress=step)
    return found.counts([tag])[tag.name]


def _render_list(declared: tuple[Tag, ...]) -> None:
    table(
        ("dimension", "tag", "标签", "kind", "version", "lifecycle", "owner", "what it says"),
        [
            (tag.dimension, tag.name, tag.chinese, tag.kind, tag.version, tag.lifecycle, tag.owner, tag.description)
            for tag in declared
        ],
    )


def _render_description(tag: Tag, report: dict[str, Any]) -> None:
    fresh = "any age" if tag.fresh is None else f"at most {tag.fresh.days} days old"
    sys.stdout.write(
        f"{tag.name}, {tag.english} {tag.chinese}\n{tag.description}\n\n"
        f"{tag.kind} tag, version {tag.version}, {tag.lifecycle}; dimension {tag.dimension}; owner {tag.owner}\n"
        f"made of {', '.join(tag.columns)}; rows of ordinary views {fresh}\n\n{tag.value.sql}\n"
    )
    if tag.values:
        sys.stdout.write("\n")
        table(("value", "", "含义"), [(value, *words) for value, words in tag.values.items()])
    if "counts" in report:
        sys.stdout.write("\n")
        rows = [("-" if value is None else value, f"{count:,}") for value, count in report["counts"].items()]
        table(("value", "shoppers"), rows)


def _render_shopper(report: ShopperTags) -> None:
    from serving.tags.shown import rows_of  # noqa: PLC0415

    known = "" if report.known else "\nNever seen: these are the tags of a shopper without events. 未知顾客"
    sys.stdout.write(f"Shopper 顾客  {report.user_id}{known}\n\n")
    table(("dimension", "tag", "标签", "value", "", "strength", "because", "as of"), rows_of(report.tags))
    sys.stdout.write(f"\nRead at {report.read_at:%Y-%m-%d %H:%M:%S} UTC; strength: 0 on a threshold, 1 beyond doubt\n")


def _render_compute(report: ComputeReport) -> None:
    table(("tag", "shoppers by value"), [(name, _most(counts)) for name, counts in report.counts.items()])
    asked = ", ".join(report.models.values()) or "no model"
    for task, why in report.wanting.items():
        sys.stdout.write(f"\nTags of {task} are not known: {why}")
    verb = "was there already" if report.unchanged else "written"
    sys.stdout.write(
        f"\n{report.people:,} shoppers as of {report.as_of:%Y-%m-%d %H:%M:%S} UTC, by {asked}; "
        f"snapshot {verb}: {report.path} ({report.seconds:.1f} s)\n"
    )


def _most(counts: Any) -> str:
    shown = [f"{'-' if value is None else value} {count:,}" for value, count in counts.items()]
    more = f" and {len(shown) - _SHOWN_VALUES} more" if len(shown) > _SHOWN_VALUES else ""
    return ", ".join(shown[:_SHOWN_VALUES]) + more
