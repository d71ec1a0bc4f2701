"""``portrait console`` in a process of its own, and a headless Chromium that looks at it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import httpx
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.ui import WebDriverWait

from serving_process import until

CHROMIUM, DRIVER = "chromium", "chromedriver"
PATIENCE_S = 60
_HERE = ("127.0.0.1", "localhost")
# No sandbox: the tests may run as root. No shared memory: a container has little.
_OPTIONS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,900")


def chromium_lacks() -> bool:
    """Whether there is no browser; in CI a missing one is a failure."""
    return not os.environ.get("CI") and not (shutil.which(CHROMIUM) and shutil.which(DRIVER))


@contextmanager
def console(home: Path, *options: str, **environment: str) -> Iterator[str]:
    """Run the console of a home for a block; yields its address."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PORTRAIT_", "MLFLOW_"))}
    command = [sys.executable, "-m", "feature_repo.cli", "console", "--port", "0", "--json", *options]
    process = subprocess.Popen(
        command,
        env={**kept, "PORTRAIT_HOME": str(home), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        try:
            assert process.stdout
            address = f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
            until(lambda: _answers(address))
            yield address
        finally:
            process.kill()  # what is looked at is kept nowhere


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/_stcore/health", timeout=5).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


class Browser:
    """Looks at pages, and remembers what it fetched and what went wrong in it."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def look(self, address: str, **asked: str) -> str:
        """Open a page and return what is to be read on it."""
        self.driver.get(f"{address}/?{urlencode(asked)}")
        return self.reads("")

    def reads(self, said: str) -> str:
        """Wait until the page is all there and says something; return what is to be read on it."""
        WebDriverWait(self.driver, PATIENCE_S, poll_frequency=0.1).until(
            lambda _: self._still() and said in self._text()
        )
        return self._text()

    def one(self, selector: str) -> WebElement:
        """The first element of a CSS selector."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def click(self, label: str) -> None:
        """Click on what has a label: a button, or one of several choices."""
        self.driver.find_element(By.XPATH, f"//*[self::label or self::button][.//*[text()='{label}']]").click()

    def click_on(self, by: str, what: str) -> None:
        """Click on an element; a link's page is begun before this returns."""
        found = self.driver.find_element(by, what)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", found)
        found.click()
        if by == By.LINK_TEXT:
            WebDriverWait(self.driver, PATIENCE_S, poll_frequency=0.1).until(staleness_of(found))

    def open_all(self) -> str:
        """Open all that is folded, and return what is to be read then."""
        self.driver.execute_script("document.querySelectorAll('details').forEach(each => { each.open = true })")
        return self._text()

    def _text(self) -> str:
        return self.one("[data-testid=stMain]").text

    def errors(self) -> list[str]:
        """What the browser's console complains of since it was last asked."""
        return [each["message"] for each in self.driver.get_log("browser") if each["level"] == "SEVERE"]

    def fetched(self) -> set[str]:
        """Addresses that were asked for since last time."""
        messages = (json.loads(each["message"])["message"] for each in self.driver.get_log("performance"))
        return {url for each in messages for url in _addresses(each)}

    def _still(self) -> bool:
        state = "return document.querySelector('[data-testid=stApp]')?.dataset.testScriptState"
        shown = self.driver.find_elements(By.CSS_SELECTOR, "[data-testid=stMain] .p, [data-testid=stSidebar] .p")
        return self.driver.execute_script(state) == "notRunning" and len(shown) > 1


def beyond_loopback(addresses: set[str]) -> set[str]:
    """Those that leave the machine."""
    return {each for each in addresses if urlsplit(each).scheme not in {"data", "blob"} and _host(each) not in _HERE}


def _host(address: str) -> str | None:
    return urlsplit(address).hostname


def _addresses(message: Mapping[str, object]) -> list[str]:
    said: dict = dict(message["params"])  # type: ignore[call-overload]
    if message["method"] == "Network.requestWillBeSent":
        return [said["request"]["url"]]
    return [said["url"]] if message["method"] == "Network.webSocketCreated" else []


@contextmanager
def browser() -> Iterator[Browser]:
    """Run a headless Chromium for a block."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which(CHROMIUM) or CHROMIUM
    for each in _OPTIONS:
        options.add_argument(each)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which(DRIVER) or DRIVER))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
