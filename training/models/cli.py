"""Commands of the model registry: `portrait models`.

This module is imported for every ``portrait --help``, so what a command needs is imported in its body.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from feature_repo.core.console import Json, command_group, emit, example, table

if TYPE_CHECKING:
    from training.registry.models import Comparison, ModelDetails, RegistryReport, VersionFacts
    from training.registry.promotion import Promotion
    from training.registry.upload import Uploaded

TaskName = Annotated[
    str, typer.Argument(metavar="TASK", help="Name of a task, segments or unusual.", show_default=False)
]
SomeTask = Annotated[
    str | None, typer.Argument(metavar="[TASK]", help="Name of a task, segments or unusual.", show_default=False)
]
Version = Annotated[str, typer.Argument(metavar="VERSION", help="A number, or an alias.", show_default=False)]
SomeVersion = Annotated[str, typer.Argument(metavar="[VERSION]", help="A number, or an alias.")]
Named = Annotated[str, typer.Argument(help="TASK@VERSION, a number or an alias.", show_default=False)]
Despite = Annotated[
    str, typer.Option("--despite-gates", metavar="REASON", help="Promote though a gate fails; kept with the version.")
]

models = command_group("models", "The registered models: list, compare, promote, go back.")


@models.command("list", epilog=example("portrait models list", "portrait models list redemption --json"))
def models_list(task: SomeTask = None, *, as_json: Json = False) -> object:
    """List versions: gates, metrics with intervals, who answers, whether their features still mean the same here."""
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from training.registry.models import list_versions  # noqa: PLC0415

    report = list_versions(load_settings(), task)
    emit(report, as_json, _render_list)
    return report


@models.command("show", epilog=example("portrait models show redemption", "portrait models show redemption 3 --json"))
def models_show(task: TaskName, version: SomeVersion = "champion", *, as_json: Json = False) -> object:
    """Show one version: gates as measured, where it came from, how its aliases moved, and its model card."""
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from training.registry.models import show_version  # noqa: PLC0415

    report = show_version(load_settings(), task, version)
    emit(report, as_json, _render_details)
    return report


@models.command("compare", epilog=example("portrait models compare redemption@2 redemption@champion"))
def models_compare(a: Named, b: Named, *, as_json: Json = False) -> object:
    """Compare two versions on the same rows, the later one's test rows, where both can score them."""
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from training.registry.models import compare  # noqa: PLC0415

    report = compare(load_settings(), a, b)
    emit(report, as_json, _render_comparison)
    return report


@models.command(
    "promote",
    epilog=example(
        "portrait models promote redemption 3", 'portrait models promote redemption 3 --despite-gates "shop is closing"'
    ),
)
def models_promote(task: TaskName, version: Version, *, despite_gates: Despite = "", as_json: Json = False) -> object:
    """Let a version answer: serving takes it within ten seconds, segments and unusual speak by it from now on."""
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from training.models.kinds import check_version  # noqa: PLC0415
    from training.registry.promotion import promote  # noqa: PLC0415

    report = promote(load_settings(), task, version, despite_gates=despite_gates, check=check_version)
    emit(report, as_json, _render_promotion)
    return report


@models.command("rollback", epilog=example("portrait models rollback redemption"))
def models_rollback(task: TaskName, *, as_json: Json = False) -> object:
    """Let the champion before this one answer again; twice goes two back."""
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from training.models.kinds import check_version  # noqa: PLC0415
    from training.registry.promotion import rollback  # noqa: PLC0415

    report = rollback(load_settings(), task, check=check_version)
    emit(report, as_json, _render_promotion)
    return report


@models.command("upload", epilog=example("portrait models upload"))
def models_upload(*, as_json: Json = False) -> object:
    """Log and register the runs that were kept while MLflow did not answer; nothing is fitted anew."""
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from training.models.kinds import judge_bundle  # noqa: PLC0415
    from training.registry.upload import upload  # noqa: PLC0415

    report = {"uploaded": upload(load_settings(), judge_bundle)}
    emit(report, as_json, _render_uploaded)
    return report


def _render_list(report: RegistryReport) -> None:
    for name, versions in report.tasks.items():
        columns = _columns(versions)
        headers = ["version", "alias", "gates", *columns.values(), "trained until", "definitions"]
        sys.stdout.write(f"{name}\n")
        table(headers, [_line(each, list(columns)) for each in versions])
        sys.stdout.write("\n")
    if not report.tasks:
        sys.stdout.write("No model is registered: run `portrait train --all`.\n")
    if report.pending:
        sys.stdout.write(f"{len(report.pending)} runs wait for MLflow: run `portrait models upload`.\n")


def _columns(versions: list[VersionFacts]) -> dict[str, str]:
    """The two metrics of most interest that any of them has, with their titles."""
    from training.declaring.objective import SHOWN  # noqa: PLC0415

    known = {name for each in versions for name in each.metrics}
    return dict([(name, title) for name, title in SHOWN.items() if name in known][:2])


def _line(version: VersionFacts, columns: list[str]) -> list[str]:
    gates = version.gates + (" (overruled)" if version.despite_gates else "")
    figures = [_figure(version.metrics.get(name, {})) for name in columns]
    return [version.version, ", ".join(version.aliases), gates, *figures, version.trained_until, version.definitions]


def _figure(found: dict[str, float | None]) -> str:
    value, low, high = (found.get(name) for name in ("value", "low", "high"))
    if value is None:
        return ""
    return f"{value:.3f}" + (f" [{low:.3f}, {high:.3f}]" if low is not None and high is not None else "")


def _render_details(report: ModelDetails) -> None:
    facts = report.facts
    rows = [
        ("model", f"{report.task}@{facts.version}"),
        ("alias", ", ".join(facts.aliases)),
        ("gates", facts.gates + (f", overruled: {facts.despite_gates}" if facts.despite_gates else "")),
        ("trained until", facts.trained_until),
        ("definitions", facts.definitions + (f": {', '.join(facts.changed)}" if facts.changed else "")),
        ("run", facts.run_id),
        ("rows", report.tags.get("data_fingerprint", "")),
        ("log", report.tags.get("log_versions", "")),
    ]
    table(["", ""], rows)
    sys.stdout.write("\n")
    measured = report.report.get("measured", {})
    held = report.report.get("gates", {})
    table(["gate", "", "measured"], [[gate, "ok" if ok else "FAILED", measured.get(gate)] for gate, ok in held.items()])
    sys.stdout.write("\n")
    table(
        ["when", "alias", "from", "to", "by", "how", "why"],
        [[each.at, each.alias, each.before, each.after, each.by, each.action, each.reason] for each in report.moves],
    )
    sys.stdout.write(f"\n{report.card}\n")


def _render_comparison(report: Comparison) -> None:
    if report.paired:
        lines = [
            [
                name,
                f"{each.a:.4f}",
                f"{each.b:.4f}",
                f"{each.difference:+.4f} [{each.low:+.4f}, {each.high:+.4f}]",
                each.better,
            ]
            for name, each in report.metrics.items()
        ]
        table(["metric", report.a, report.b, "difference", "better"], lines)
        sys.stdout.write(f"\nBoth on the same {report.rows:,} rows ({report.reason}); intervals by shopper, paired.\n")
    else:
        table(
            ["metric", report.a, report.b],
            [[name, f"{each.a:.4f}", f"{each.b:.4f}"] for name, each in report.metrics.items()],
        )
        sys.stdout.write(f"\nEach on its own test rows, so a difference means little: {report.reason}.\n")


def _render_promotion(report: Promotion) -> None:
    if report.moved is None:
        sys.stdout.write(f"{report.task}@{report.version} is champion already.\n")
        return
    sys.stdout.write(f"{report.task}@{report.version} is champion now; before it was {report.before or 'none'}.\n")


def _render_uploaded(report: dict[str, list[Uploaded]]) -> None:
    for each in report["uploaded"]:
        new = each.registered
        alias = "champion" if new.promoted else "challenger" if new.challenger else "without an alias"
        sys.stdout.write(f"{each.task}@{new.version} is {alias}: {new.reason}\n")
    if not report["uploaded"]:
        sys.stdout.write("No run waits for MLflow.\n")
