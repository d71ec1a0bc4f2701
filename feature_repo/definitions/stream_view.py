"""Feast's stream view, compared with the registered one by what either declares."""

from __future__ import annotations

from feast import StreamFeatureView
from feast.protos.feast.core.StreamFeatureView_pb2 import StreamFeatureViewSpec


class DeclaredStreamView(StreamFeatureView):
    """A stream view that equals the one the registry made of it.

    Feast's own comparison always tells them apart: a registered view counts its join keys among its features, in
    another order, and holds its mode as text and the intervals it was materialized for. So every ``feast plan`` would
    list every stream view as updated. Python asks the more special class of the two, on whichever side it stands.
    """

    def __eq__(self, other: object) -> bool:
        """Whether both would be registered alike, whatever their times."""
        if not isinstance(other, StreamFeatureView):
            return NotImplemented
        return _registered(self) == _registered(other)

    def __hash__(self) -> int:
        """By name, as Feast's."""
        return hash(super().__hash__())


def _registered(view: StreamFeatureView) -> bytes:
    """What the registry would hold of a view: without its times, its fields by name."""
    spec = StreamFeatureViewSpec()
    spec.CopyFrom(StreamFeatureView.to_proto(view).spec)
    fields = sorted({field.name: field for field in spec.features}.items())
    del spec.features[:]
    spec.features.extend(field for _, field in fields)
    spec.ClearField("project")
    for source in (spec.batch_source, spec.stream_source, spec.stream_source.batch_source):
        source.ClearField("meta")
        source.ClearField("project")
    text: bytes = spec.SerializeToString(deterministic=True)
    return text
