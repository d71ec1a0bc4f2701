"""The console listens where it is told, and says nothing to the world."""

from __future__ import annotations

import socket
import sys
from typing import Any

import pytest

from feature_repo import cli
from feature_repo.core.errors import SettingsError
from serving.console import launch as module
from serving.console.launch import SETTINGS, free_port, launch, options


def test_streamlit_is_told_to_keep_to_itself() -> None:
    told = options("127.0.0.1", 8501)
    for said in ("--browser.gatherUsageStats=false", "--server.headless=true", "--server.showEmailPrompt=false"):
        assert said in told
    assert "--server.address=127.0.0.1" in told
    assert "--server.allowedHosts=127.0.0.1" in told
    assert not any(each.startswith("--server.allowedHosts") for each in options("0.0.0.0", 8501))


def test_every_setting_is_one_that_streamlit_knows() -> None:
    from streamlit import config  # noqa: PLC0415

    known = config._config_options_template
    assert set(SETTINGS) <= set(known)
    assert config.get_option("server.enableAgentApi") is False


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SettingsError, match="Nothing can listen"):
        free_port("127.0.0.1", taken.getsockname()[1])
    assert free_port("127.0.0.1", 0) > 0


def test_without_streamlit_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "streamlit.web", None)
    with pytest.raises(SettingsError, match="not installed") as caught:
        launch("127.0.0.1", 8501, "en")
    assert "user-portrait[console]" in caught.value.hint


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_whoever_opens_it_to_others_is_warned(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], host: str, warned: bool
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(module, "launch", lambda *args: asked.append(args))
    assert cli.main(["console", "--host", host, "--port", "0", "--lang", "zh"]) == 0
    said = capsys.readouterr()
    assert asked[0][::2] == (host, "zh")
    assert f"http://{host}:{asked[0][1]}" in said.out
    assert ("can read every shopper's portrait" in said.err) == warned
