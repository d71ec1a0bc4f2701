"""Why a score is what it is, what it rests on, and what it would be otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving.models import context_of, pinned_version
from serving.reasons.answers import LAST_PURCHASE, Evidence, WhatIf, Without, check_reason, check_without
from serving.reasons.explanation import Explanation, Reason
from serving.transport import Transport


class AskingWhy:
    """The part of :class:`serving.sdk.ProfileClient` that asks for reasons."""

    _transport: Transport

    def explain(
        self, task: str, user: Any, *, context: Mapping[str, Any] | None = None, version: str | int | None = None
    ) -> Explanation:
        """Say why a model answers as it does about one shopper: reasons that add up to its margin, in words.

        Parameters
        ----------
        user
            A raw id or pseudonym; for a model that is about pairs, a DataFrame of one row.
        context, version
            As in :meth:`predict`.

        Raises
        ------
        ModelUnavailableError, NotMaterializedError, StoreUnavailableError, DataError
            As :meth:`predict`; also of a model that cannot say why.
        """
        pinned = None if version is None else pinned_version(version)
        return self._transport.explain(task, user, context_of(context), pinned)

    def evidence(self, user: str | int, reason: Reason, *, most: int = 20) -> tuple[Evidence, ...]:
        """Show what the log holds of each windowed value behind a reason: its newest events, and the value again.

        Parameters
        ----------
        most
            Events to show of each, at most 100.

        Raises
        ------
        DataError, DeclarationError, LogError
            It is no reason, its views are not declared any more, or a table is damaged.
        """
        check_reason(reason)
        return self._transport.evidence(user, reason, most)

    def what_if(
        self,
        task: str,
        user: Any,
        *,
        without: Without = LAST_PURCHASE,
        context: Mapping[str, Any] | None = None,
        version: str | int | None = None,
    ) -> WhatIf:
        """Say what the score of one shopper would be if some events had not happened.

        Parameters
        ----------
        without
            ``last_purchase``: all of the last order. Or ids of events, as :meth:`evidence` shows them.

        Raises
        ------
        ModelUnavailableError, NotMaterializedError, StoreUnavailableError, DataError, LogError
            As :meth:`explain` and :meth:`evidence`.
        """
        check_without(without)
        pinned = None if version is None else pinned_version(version)
        return self._transport.what_if(task, user, without, context_of(context), pinned)
