"""Every command that reads says in words, and as one JSON object, what there is to say of the demo's shop."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from feature_repo import cli
from running_shop import living_in, running_copy

pytestmark = pytest.mark.slow(40)

# Commands in the order in which a newcomer may give them, with what their answers have to say in words, and the names
# their JSON object has to hold.
ANSWERS = {
    "status": ("embedded", ["redis"]),
    "jobs status": ("views hold all of the log", ["views", "tables", "stream"]),
    "jobs histories": ("2,469 shoppers", ["shoppers", "items", "as_of"]),
    "features list": ("user_payments:amount_sum_84d", ["features"]),
    "features describe user_payments": ("Total spend of visits in 84d.", ["name", "features"]),
    "features describe user_segments": ("as `portrait segments assign` last wrote them", ["name", "features"]),
    "tags list": ("churn_risk", ["tags"]),
    "tags describe basket_style --counts": ("1,158", ["name", "sql", "counts"]),
    "tags compute": ("2,469 shoppers as of", ["people", "counts", "wanting"]),
    "tags show 2375": ("visit_cycle", ["user_id", "tags"]),
    "tags show nobody-of-the-shop": ("Never seen", ["user_id", "tags"]),
    "models list": ("redemption", ["tasks"]),
    "models show redemption": ("redemption@1", ["task", "card"]),
    "models compare redemption@1 redemption@champion": ("Both on the same 1,653 rows", ["metrics", "paired"]),
    "models upload": ("No run waits for MLflow", ["uploaded"]),
    "events stats": ("155,528", ["tables"]),
    "experiments list": ("redemption_model", ["experiments"]),
    "experiments report redemption_model": ("Split as declared", ["experiment", "outcomes"]),
    "audience columns": ("tag__basket_style", ["columns"]),
    "audience estimate \"basket_style = 'top_up'\"": ("581 of 2,469 shoppers", ["size", "unknown"]),
    "audience insight \"basket_style = 'top_up'\"": ("shopping hours", ["traits"]),
    "audience overlap \"basket_style = 'top_up'\" regular": ("581", ["pairs"]),
    "audience overlap \"churn_risk = 'high'\" regular": ("388", ["pairs"]),  # nobody, as no model of churn is trained
    "audience plan true --value 4 --cost 0.5 --budget 100": ("score__redemption >=", ["addressed", "least_score"]),
    "audience list": ("selection", ["audiences"]),
    "audience exports": ("handed out", ["exports"]),
    "profile 2375": ("Tags 标签", ["dimensions"]),
    "predict redemption 2375": ("redemption", ["scores"]),
    "explain redemption 2375": ("redemption", ["reasons"]),
    "segments show": ("champions", ["segments"]),
    "unusual show": ("very_unusual", ["tiers"]),
    "key 2375": ("u_", ["user_id"]),
    "api-keys list": ("key", ["keys"]),
    "monitor skew": ("PORTRAIT_SERVED_SAMPLE", ["rows", "mismatches"]),
}

# Not asked here: what writes, serves, or takes longer than to ask, each with tests of its own.
OTHERS = {
    *("up", "down", "demo", "visit", "console", "serve", "bench", "document", "train", "refresh", "recommend"),
    *("api-keys create", "api-keys revoke"),
    *("audience export", "audience refresh", "audience report", "audience save"),
    *("events demo", "events import", "events map", "events simulate"),
    *("features apply", "features check", "features new"),
    *("jobs compact", "jobs consume", "jobs erase", "jobs habits", "jobs materialize", "jobs parity"),
    *("models lift", "models promote", "models rollback", "monitor drift"),
    *("segments assign", "segments fit", "unusual assign", "unusual fit"),
}


@pytest.fixture(scope="module")
def own_home(built_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the shop for the commands of this file, with its own Redis."""
    with running_copy(built_shop, tmp_path_factory.mktemp("asked") / "shop") as home:
        yield home


@pytest.fixture
def shop_of_commands(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    living_in(own_home, monkeypatch)


@pytest.mark.usefixtures("shop_of_commands")
def test_what_is_asked_is_answered_in_words_and_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {}
    for words, (told, names) in ANSWERS.items():
        code = cli.main(shlex.split(words))
        text = capsys.readouterr()
        json_code = cli.main([*shlex.split(words), "--json"])
        report = json.loads(capsys.readouterr().out)
        held = told in text.out and not re.search(r"\bnan\b", text.out) and {*names} <= {*report}
        if (code, json_code) != (0, 0) or not held:
            wrong[words] = (code, json_code, text, [*report])
    assert not wrong


def test_no_command_is_left_out() -> None:
    asked = {" ".join(shlex.split(words)[: len(name.split())]) for name in _names() for words in ANSWERS}
    assert _names() - OTHERS == asked & _names() - OTHERS
    assert _names() >= OTHERS


def _names() -> set[str]:
    root = get_command(cli.registry().root)
    assert isinstance(root, typer.core.TyperGroup)
    found = set()
    for name, command in root.commands.items():
        below = getattr(command, "commands", None)
        found |= {f"{name} {each}" for each in below} if below else {name}
    return found
