"""Recommends: reads what is known of a shopper, proposes, ranks, sorts out, and says why."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np

from feature_repo.candidates.history import History
from feature_repo.candidates.kept import SHELF_AT_KEY, SHELF_KEY, history_key
from feature_repo.candidates.proposals import COLUMNS, Proposals, Proposer
from feature_repo.candidates.shelf import Shelf
from feature_repo.core.clock import Clock, from_us
from feature_repo.core.errors import ModelUnavailableError, NotMaterializedError
from serving.entities import USER
from serving.models import Matrix, Model
from serving.online_features import Reading, ServicePlan
from serving.recommending.reasons import reasons_of
from serving.recommending.recommendation import Recommendations, Recommended
from serving.recommending.rules import ARRANGEMENT, FILTERS, Pool, allowed_by
from serving.recommending.wish import Wish
from serving.scoring import ModelRegistry
from serving.service_views import as_floats

TASK = "items"
ANSWERS = "item_feedback_v1"
ITEM, CATEGORY = "item_id", "category"
DAYS_SINCE = "user_item_purchases__days_since"
LAST_ANSWER = "user_item_feedback__action_last_28d"
ASKED_ABOUT = 30  # of the ranked items, at least, the shopper's answers are looked up

Ask = Callable[[Callable[[Any], Any]], Any]


@dataclass(frozen=True, eq=False)
class Plans:
    """How features are read: of a model, by its service; of any service by name."""

    of_model: Callable[[Model], ServicePlan]
    named: Callable[[str], ServicePlan]


@dataclass(frozen=True, eq=False)
class _Seen:
    """What was read of a shopper, and proposed."""

    proposer: Proposer
    history: History | None
    proposals: Proposals
    reading: Reading
    entities: dict[str, list[str]]


@dataclass(frozen=True, eq=False)
class RecommendDesk:
    """Recommends by the champion of the task ``items``. Threads may share one.

    Parameters
    ----------
    ask
        Asks Redis.
    note
        Is told what features were read for which model.
    """

    models: ModelRegistry
    plans: Plans
    ask: Ask
    clock: Clock
    note: Callable[..., None]
    _proposers: dict[str, tuple[bytes, Proposer]] = field(default_factory=dict)
    _loading: Lock = field(default_factory=Lock)

    def recommend(self, user: str, k: int, wish: Wish) -> Recommendations:
        """Return a list for a shopper, by pseudonym.

        Raises
        ------
        ModelUnavailableError
            There is no champion, or it proposes nothing.
        NotMaterializedError
            The view of shoppers and items has no state in Redis.
        StoreUnavailableError
            Redis does not answer.
        """
        model = self.models.champion(TASK)
        plan = self.plans.of_model(model)
        at = self.clock.now_us()
        seen = self.ask(lambda client: self._see(client, model, plan, user, wish, at))
        self.note(seen.reading, seen.entities, model.features, at, model=model.name)
        scores = _scored(model, seen)
        order = np.argsort(-scores, kind="stable")
        chosen = self._chosen(user, k, wish, seen, scores, order, at)
        return _told(user, model, seen, scores, chosen, at)

    def warm_up(self, model: Model) -> None:
        """Make what the first question would have to wait for."""
        if model.proposer is not None:
            self.plans.named(ANSWERS)
            model.proposer.propose(History.nothing(0), 0)

    def _see(self, client: Any, model: Model, plan: ServicePlan, user: str, wish: Wish, at: int) -> _Seen:
        kept, shelf_at = client.mget(history_key(user), SHELF_AT_KEY)
        proposer = self._proposer(client, model, shelf_at or b"")
        history = None if kept is None else History.from_json(kept)
        proposals = proposer.propose(_placed(history, wish, at), at)
        entities = {
            USER: [user] * len(proposals.places),
            ITEM: proposer.shelf.items[proposals.places].tolist(),
            CATEGORY: proposer.shelf.category[proposals.places].tolist(),
        }
        reading = plan.read(client, entities, at)
        _check_built(reading)
        return _Seen(proposer, history, proposals, reading, entities)

    def _proposer(self, client: Any, model: Model, shelf_at: bytes) -> Proposer:
        """Return what proposes for a model, on the shelf as it is now, or was when the model was trained."""
        if model.proposer is None:
            raise ModelUnavailableError(f"Model {model.name} proposes nothing.", hint=f"run `portrait train {TASK}`.")
        known = self._proposers.get(model.name)
        if known is not None and known[0] == shelf_at:
            return known[1]
        with self._loading:
            raw = client.get(SHELF_KEY) if shelf_at else None
            made = Proposer(model.proposer.taste, Shelf.from_json(raw)) if raw else model.proposer
            self._proposers.clear()  # of the champion before
            self._proposers[model.name] = (shelf_at, made)
        return made

    def _chosen(
        self, user: str, k: int, wish: Wish, seen: _Seen, scores: Matrix, order: np.ndarray[Any, Any], at: int
    ) -> list[int]:
        """Places of the proposals on the list: of the best by the rules, and of all if those do not fill it."""
        for most in (max(ASKED_ABOUT, 3 * k), len(order)):
            best = order[:most]
            pool = self._pool(user, seen, scores, best, at)
            chosen = ARRANGEMENT.choose(pool, allowed_by(FILTERS, pool, wish), k)
            if len(chosen) == k or most >= len(order):
                return [int(best[place]) for place in chosen]
        return []

    def _pool(self, user: str, seen: _Seen, scores: Matrix, best: np.ndarray[Any, Any], at: int) -> Pool:
        shelf, places = seen.proposer.shelf, seen.proposals.places[best]
        items = shelf.items[places]
        plan = self.plans.named(ANSWERS)
        entities = {USER: [user] * len(items), ITEM: items.tolist()}
        answers = self.ask(lambda client: plan.read(client, entities, at)).table[LAST_ANSWER].to_pylist()
        days = as_floats(seen.reading.stored[DAYS_SINCE])[best]
        return Pool(items, shelf.category[places], shelf.maker[places], scores[best], days, answers)


def _placed(history: History | None, wish: Wish, at: int) -> History:
    """Return a history in the store the caller names."""
    known = history or History.nothing(at)
    return known.at_store(wish.store) if wish.store else known


def _check_built(reading: Reading) -> None:
    for part, states in zip(reading.plan.windowed, reading.answers.states, strict=True):
        if states.layout is None:
            raise NotMaterializedError(
                f"View '{part.prefix}', which recommendations are ranked by, has no state in Redis.",
                hint="run `portrait jobs histories`, and `portrait jobs materialize`.",
            )


def _scored(model: Model, seen: _Seen) -> Matrix:
    """Score by the model; of whoever bought nothing yet by shares of shoppers, as it was taught by those who did."""
    if not seen.proposals.bought.any() and np.isnan(as_floats(seen.reading.stored[DAYS_SINCE])).all():
        return seen.proposals.column("store") + seen.proposals.column("popular")
    columns = {name: place for place, name in enumerate(COLUMNS)}
    given = seen.proposals.values[:, [columns[name] for name in model.context]]
    features = seen.reading.matrix(model.features, model.texts)
    return np.asarray(model.scorer.score(model.inputs(features, given)), np.float64)


def _told(user: str, model: Model, seen: _Seen, scores: Matrix, chosen: list[int], at: int) -> Recommendations:
    days = as_floats(seen.reading.stored[DAYS_SINCE])
    why, items = reasons_of(seen.proposals.values, days), []
    for place in chosen:
        found = why(place)
        items.append(
            Recommended(
                item_id=seen.entities[ITEM][place],
                category=seen.entities[CATEGORY][place],
                score=float(scores[place]),
                kind=found.kind,
                reason=found.english,
                zh=found.chinese,
                bought=bool(seen.proposals.bought[place]) or not np.isnan(days[place]),
            )
        )
    return Recommendations(
        user_id=user,
        recommendation_id=_name_of(user, model.name, at, [each.item_id for each in items]),
        model=model.name,
        features_as_of=from_us(at),
        history_as_of=None if seen.history is None else from_us(seen.history.at),
        items=tuple(items),
    )


def _name_of(user: str, model: str, at: int, items: list[str]) -> str:
    """Return a name that is the same for the same list at the same instant."""
    return "r_" + hashlib.sha256("\x1f".join([user, model, str(at), *items]).encode()).hexdigest()[:24]
