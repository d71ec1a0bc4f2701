"""Every bench runs, at a size too small to say anything, and reports what the command line promises."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from bench_children import die, hold
from feature_repo import cli
from feature_repo.bench import commits, materialize, memory, pit, pit_asof, stream
from feature_repo.bench.bench import GROUP, Bench, BenchReport, Findings, Size
from feature_repo.bench.ground import Ground, temporary_ground
from feature_repo.bench.measure import Spent, in_child, in_turns, peak_bytes, rates, times_faster
from feature_repo.bench.run import measured
from feature_repo.core.console import plain
from feature_repo.core.contributions import contributions
from feature_repo.core.errors import CheckFailedError, PortraitError
from feature_repo.core.settings import load_settings
from feature_repo.core.stores import redis_client
from serving import bench_audience, bench_online, bench_recommend, bench_serve
from training import bench_drift

TINY: dict[str, Any] = {
    "materialize": materialize.Scale(entities=200, rounds=1),
    "online": bench_online.Scale(users=20, events=40, calls=((1, 2), (5, 2))),
    "predict": bench_online.Scale(users=20, events=40, calls=((1, 2), (5, 2))),
    "recommend": bench_recommend.Scale(users=40, lines=60, items=40, calls=((1, 5),)),
    "serve": bench_serve.Scale(users=20, events=40, calls=((1, 5), (5, 5)), connections=2),
    "audience": bench_audience.Scale(users=300, rounds=2),
    "pit": pit.Scale(users=10, rows=1_000, events=(20, 40), rounds=1),
    "pit-asof": pit_asof.Scale(users=10, rows=500, events=20, rounds=1),
    "memory": memory.Scale(band=3),
    "stream": stream.Scale(users=20, lines=5, events=500, pushed=200, seconds=1, rounds=1),
    "drift": bench_drift.Scale(changes=1, weeks=0, tasks=("redemption",), refreshed=False),
    "commits": commits.Scale(commits=4, events=(5, 20)),
}
CONTRACT = ["name", "ours", "peer", "ratio", "unit", "setup"]


def silent(_what: str, _share: float) -> None:
    """Tell nobody."""


def tiny(name: str, tell: Callable[[str, float], None] = silent) -> BenchReport:
    """Run a bench at its tiny size."""
    [entry] = [entry for entry in contributions(GROUP) if entry.name == name]
    return measured(entry.load(), TINY[name], tell, size="tiny")


def test_every_declared_bench_is_run_here():
    assert sorted(TINY) == sorted(entry.name for entry in contributions(GROUP))


@pytest.mark.slow(120)
@pytest.mark.parametrize("name", TINY)
def test_a_bench_reports_the_contracts_shape_and_how_far_it_is(name: str):
    told: list[float] = []
    report = plain(tiny(name, lambda _, share: told.append(share)))
    assert list(report) == CONTRACT
    assert report["name"] == name
    assert report["ratio"] > 0
    assert report["ours"]
    assert report["peer"]
    assert {"size", "peer", "cores", "versions", "bench_s"} <= set(report["setup"])
    assert told == sorted(told)
    assert told[-1] == 1.0


@pytest.mark.parametrize("name", TINY)
def test_a_bench_has_both_sizes_of_its_scale(name: str):
    [entry] = [entry for entry in contributions(GROUP) if entry.name == name]
    bench: Bench = entry.load()
    assert bench.name == name
    assert set(bench.sizes) == set(Size)
    assert {type(scale) for scale in bench.sizes.values()} == {type(TINY[name])}


def test_rows_that_differ_from_stocks_are_no_result(monkeypatch: pytest.MonkeyPatch):
    def other_bytes(ground: Ground, scale: materialize.Scale) -> Findings:
        written = materialize._written

        def spoilt(store: Any, now: int) -> float:
            taken = written(store, now)
            with ground.redis() as client:
                client.hset(next(client.scan_iter(match=f"*user_id*{store.project}")), "_ts:facts_0", b"")
            return taken

        monkeypatch.setattr(materialize, "_written", spoilt)
        return materialize.measure(ground, scale)

    with pytest.raises(CheckFailedError, match="compared differ"):
        measured(Bench("spoilt", {}, other_bytes), TINY["materialize"], silent, size="tiny")


def test_the_users_home_and_redis_are_out_of_reach(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PORTRAIT_HOME", str(tmp_path / "mine"))
    monkeypatch.setenv("PORTRAIT_REDIS_URL", "redis://127.0.0.1:1/0")
    with temporary_ground(silent) as ground:
        assert load_settings() == ground.settings
        assert ground.settings.redis_url == ""
        with ground.redis() as client:
            assert client.dbsize() == 0
        home = ground.settings.home
    assert not home.exists()
    assert not (tmp_path / "mine").exists()
    assert (os.environ["PORTRAIT_HOME"], os.environ["PORTRAIT_REDIS_URL"]) == (
        str(tmp_path / "mine"),
        "redis://127.0.0.1:1/0",
    )


def test_sigterm_leaves_neither_home_nor_server_nor_child_behind(tmp_path: Path):
    code = (
        "import time\n"
        "from feature_repo.bench.ground import temporary_ground\n"
        "from feature_repo.bench.measure import in_child\n"
        "with temporary_ground(lambda what, share: None) as ground:\n"
        "    from feature_repo.core.stores import read_embedded\n"
        "    print(read_embedded(ground.settings).url, flush=True)\n"
        "    in_child(time.sleep, 600)\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as child:
        assert child.stdout
        url = child.stdout.readline().decode().strip()
        child.send_signal(signal.SIGTERM)
        child.wait(timeout=60)
    assert list(tmp_path.iterdir()) == []
    with redis_client(url, timeout_s=5.0) as client, pytest.raises(redis.ConnectionError):
        client.ping()


def test_both_sides_take_turns_at_going_first():
    order: list[str] = []

    def side(name: str) -> Callable[[], Spent]:
        return lambda: Spent(float(order.append(name) or len(order)), 0.0)

    ours, peer = in_turns(side("o"), side("p"), rounds=2, told=lambda _: None, before=lambda: order.append("-"))
    assert "".join(order) == "-op-po"
    assert [each.wall for each in ours + peer] == [2.0, 6.0, 3.0, 5.0]


def test_a_round_is_compared_with_its_own_neighbours():
    ours = [Spent(4.0, 1.0), Spent(40.0, 1.0), Spent(5.0, 0.5)]
    peer = [Spent(8.0, 1.0), Spent(80.0, 1.0), Spent(5.0, 1.0)]
    assert times_faster(ours, peer) == 2.0
    assert rates(100, ours) == {"rows_per_s": 20.0, "rows_per_cpu_s": 100.0, "seconds": [4.0, 40.0, 5.0]}


def test_without_ibis_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(PortraitError, match=r"needs ibis.\nHint: pip install 'user-portrait\[bench\]'"):
        measured(materialize.BENCH, TINY["materialize"], silent, size="tiny")


def test_the_peak_of_a_child_is_its_own():
    ballast = bytearray(b"x") * (300 << 20)
    found = in_child(hold, 50)
    assert found.value == 50 << 20
    assert 45 << 20 <= found.peak_bytes - found.base_bytes < 120 << 20
    assert found.peak_bytes < len(ballast) < peak_bytes()


def test_what_a_child_raises_is_raised_here():
    with pytest.raises(ValueError, match="invalid literal"):
        in_child(int, "many")


def test_a_child_that_is_killed_is_told():
    with pytest.raises(PortraitError, match="die was killed"):
        in_child(die)


def test_an_unknown_bench_suggests_a_known_one_before_anything_heavy_is_loaded():
    code = (
        "import sys; from feature_repo.cli import main; code = main(['bench', 'materialise', '--json']);"
        "print(code, 'feast' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "2 False"
    assert json.loads(done.stdout)["error"]["hint"] == "did you mean 'materialize'?"


def test_the_help_names_every_bench(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["bench", "--help"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in TINY)


def test_the_command_prints_one_object_or_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setitem(materialize.BENCH.sizes, Size.SMALL, TINY["materialize"])
    assert cli.main(["bench", "materialize", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)) == CONTRACT
    assert cli.main(["bench", "materialize"]) == 0
    printed = capsys.readouterr().out
    assert "rows_per_s" in printed
    assert "times the peer (rows/s; more than 1: ours is better)" in printed
