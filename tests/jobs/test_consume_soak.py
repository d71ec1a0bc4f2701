"""Everything at once for a while: the stream at a rate, imports, builds, compactions and other definitions."""

from __future__ import annotations

import itertools
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from feature_repo import feature_definitions
from feature_repo.core.clock import SystemClock
from feature_repo.core.settings import Settings, load_settings
from feature_repo.definitions.browsing import CART_CHANGE
from feature_repo.definitions.entities import user
from feature_repo.definitions.sources import carts
from feature_repo.definitions.windows import count, five_minutes, total, windowed_view
from feature_repo.events.upkeep import compact
from feature_repo.jobs.features import apply
from feature_repo.jobs.materialize import materialize
from mortal_consumers import ACKNOWLEDGED, MortalConsumer
from own_shops import Importer, Sender, consume_all, end_leases, opened
from shop_checks import assert_holds
from shop_stream import Traffic

pytestmark = pytest.mark.slow(40)

# A nightly run takes longer: PORTRAIT_SOAK_S=120.
SOAK_S = float(os.environ.get("PORTRAIT_SOAK_S") or 20)
EVENTS_PER_S = 2_000
PAUSE_S = 0.5
PATIENCE_S = 90.0
# Ids of events are kept in memory, some bytes each; what else grows all the time is a leak.
GROWTH_BYTES = 150 << 20

# The carts of the day with one more feature: another state.
MORE_CARTS = windowed_view(
    name="user_carts_live",
    entities=[user],
    source=carts,
    hop=five_minutes,
    events=CART_CHANGE,
    owner="growth",
    description="What a shopper puts into the cart, or takes out, today.",
    zh="顾客当日的加购与移除",
    features=[*count(hours=(1, 6, 24)), *total("quantity", hours=(24,))],
)


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text("utf-8").split()[1])
    return pages * resource.getpagesize()


def test_everything_at_once_ends_with_no_mismatch(home: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setenv("PORTRAIT_THREADS", "2")
    with opened(load_settings()) as settings:
        traffic = Traffic(seed, settings.partitions)
        jobs = jobs_of(settings, monkeypatch)
        done, sizes = soak(settings, traffic, jobs)
        consume_all(settings)
        materialize(settings, SystemClock())
        grown = sizes[-1] - sizes[len(sizes) // 2]
        print(  # noqa: T201
            f"{traffic.count:,} events in {SOAK_S:.0f} s, {done} jobs, resident {[size >> 20 for size in sizes]} MB"
        )
        assert_holds(settings, traffic)
        assert grown < GROWTH_BYTES


def jobs_of(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """Return what is done in turn beside the stream."""
    definitions = itertools.cycle([MORE_CARTS, feature_definitions.user_carts_live])

    def redefine() -> None:
        monkeypatch.setattr(feature_definitions, "user_carts_live", next(definitions))
        apply()

    return [
        lambda: materialize(settings, SystemClock()),
        lambda: compact(settings, SystemClock()),
        lambda: materialize(settings, SystemClock(), full=True),
        redefine,
    ]


def soak(settings: Settings, traffic: Traffic, jobs: list[Callable[[], object]]) -> tuple[int, list[int]]:
    """Do jobs beside the stream and imports; return how many, and the consumer's memory after each (bytes)."""
    sender = Sender(settings, traffic, size=EVENTS_PER_S // 10)
    consumer = MortalConsumer.start("soaked")
    with sender.sending(), Importer(settings, sender, every_s=3.0).importing():
        assert consumer.hears(ACKNOWLEDGED, PATIENCE_S)
        ends, sizes = time.monotonic() + SOAK_S, list[int]()
        for number in itertools.count():
            jobs[number % len(jobs)]()
            consumer.process.join(PAUSE_S)
            assert consumer.process.is_alive(), "the consumer ended by itself"
            sizes.append(resident_bytes(consumer.process.pid or 0))
            if time.monotonic() > ends and number >= len(jobs):
                break
    consumer.kill()
    end_leases(settings)
    return number + 1, sizes
