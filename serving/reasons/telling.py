"""Reasons from values and contributions: which values of a family are told, and by which rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving.catalogue import Label
from serving.reasons.deeds import Deed, deed_of
from serving.reasons.explanation import Part, Reason, Trace
from serving.reasons.families import Family
from serving.reasons.lineage import Lineage, Origin
from serving.reasons.sentences import Said, Windowed, by_label, compared, since, stated, told

_ADDS_UP = frozenset({"count", "sum"})
# A second window is told beside the first if at least so much of the first's contribution rests on it.
_WORTH_TELLING = 0.25
_SHOPPER = "user_id"


@dataclass(frozen=True, eq=False)
class Teller:
    """Tells families of one service's features."""

    lineage: Lineage
    labels: Mapping[str, Label]

    def reason(self, family: Family, parts: Sequence[Part], traces: Mapping[str, Trace]) -> Reason:
        """Make a reason of a family.

        Parameters
        ----------
        parts
            Of the family's members.
        traces
            Of windowed features by full name.
        """
        parts = sorted(parts, key=lambda part: -abs(part.contribution))
        behind = [traces[name] for name in family.behind]
        said, names = self._said(family, parts, behind)
        return Reason(
            dimension=family.dimension,
            contribution=sum(part.contribution for part in parts),
            sentence=said.english,
            zh=said.chinese,
            told=names,
            parts=tuple(parts),
            traces=tuple(behind),
        )

    def _said(self, family: Family, parts: Sequence[Part], behind: Sequence[Trace]) -> tuple[Said, tuple[str, ...]]:
        if family.function in _ADDS_UP:
            chosen = self._chosen(parts, behind)
            return self._amount(chosen), tuple(trace.name for trace in chosen)
        first = parts[0]
        if family.function == "days_since" and first.name in self.lineage.origins:
            [trace] = [trace for trace in behind if trace.name == first.name]
            return self._recency(trace), (trace.name,)
        said = stated(first.description, first.zh, first.value, share="share" in first.name)
        whole = self.lineage.behind(first.name)
        return said.about(_about(trace for trace in behind if trace.name in whole)), (first.name,)

    def _chosen(self, parts: Sequence[Part], behind: Sequence[Trace]) -> list[Trace]:
        """Windows to tell, the shorter first: that on which most of the contributions rests, and perhaps the next."""
        weights = {trace.name: self._weight(trace.name, parts) for trace in behind}
        first, *others = sorted(behind, key=lambda trace: (-weights[trace.name], self._origin(trace).feature.window))
        least = _WORTH_TELLING * weights[first.name]
        second = [each for each in others if weights[each.name] >= least and each.since != first.since][:1]
        return sorted([first, *second], key=lambda trace: self._origin(trace).feature.window)

    def _weight(self, name: str, parts: Sequence[Part]) -> float:
        return sum(abs(part.contribution) for part in parts if name in self.lineage.behind(part.name))

    def _amount(self, chosen: Sequence[Trace]) -> Said:
        windows = [Windowed(self._origin(trace).feature.window, trace.value) for trace in chosen]
        deed = self._deed(chosen[0])
        said = compared(deed, *windows) if len(windows) > 1 else told(deed, windows[0])
        return said.about(chosen[0].about)

    def _recency(self, trace: Trace) -> Said:
        deed, origin = self._deed(trace), self._origin(trace)
        if not deed.last:
            label = self._label(trace.name)
            return stated(label.description, label.zh, trace.value).about(trace.about)
        return since(deed, trace.value, origin.feature.window).about(trace.about)

    def _deed(self, trace: Trace) -> Deed:
        """How a value is told; what is not the shopper's own is told by its label."""
        feature = self._origin(trace).feature
        own = _SHOPPER in self._origin(trace).part.entity.columns
        label = self._label(trace.name)
        found = deed_of(trace.table, feature.column, feature.function) if own else None
        return found or by_label(label.description, label.zh)

    def _origin(self, trace: Trace) -> Origin:
        return self.lineage.origins[trace.name]

    def _label(self, name: str) -> Label:
        return self.labels.get(name) or Label(name, "")


def _about(traces: Any) -> Mapping[str, str]:
    return {key: value for trace in traces for key, value in trace.about.items()}
