"""A real Chromium before a whole stack: one for all of these tests, which follow each other in their file's order."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from dev.stack.airflow_api import AirflowApi
from dev.stack.stack_settings import USER, VIEWER, passwords_file
from tests.debian_programs import need
from tests.end_to_end.stacks import Up

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

SHOTS = Path(__file__).parents[2] / ".screenshots"


def chromium() -> str:
    """The browser's program."""
    return need("chromium", "chromium-browser", "google-chrome", package="chromium")


class Stack:
    """The stack, as people and as the tests reach it."""

    def __init__(self, up: Up) -> None:
        self.folder = up.folder
        self.url = up.shown("Airflow")
        self.simulator = up.shown("simulator").removesuffix("/simulator/summary")
        self.passwords: dict[str, str] = json.loads(passwords_file(up.folder / "airflow").read_text("utf-8"))
        self.api = AirflowApi(self.url, USER, self.passwords[USER])
        self.ledger = f"host={up.folder / 'postgres'} user=postgres dbname=ledger"


# For the module only: the browser leaves an event loop running in its thread, where other tests could begin none.
@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    chromium()
    folder = Path(tempfile.mkdtemp(prefix="capillary-browser-"))
    up = Up(folder / "up", Path(__file__).with_name("dags"))
    try:
        up.wait_until_ready()
        served = Stack(up)
        yield served
        served.api.close()
    finally:
        code = up.interrupt()
    assert code == 0, up.reported()
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def browser(stack: Stack) -> Iterator[Any]:
    SHOTS.mkdir(exist_ok=True)
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield running
        running.close()


class Visitor:
    """A person at the browser, logged in."""

    def __init__(self, browser: Any, stack: Stack, user: str, **settings: Any) -> None:
        self.stack = stack
        self.context = browser.new_context(viewport={"width": 1400, "height": 900}, accept_downloads=True, **settings)
        self.context.set_default_timeout(30_000)
        self.foreign: list[str] = []
        #: Airflow 3.2 lets its frames load no file down
        self.downloads = version("apache-airflow-core") >= "3.3.2"
        self.page = self.context.new_page()
        self.page.on("request", self._note)
        self.page.goto(f"{stack.url}/auth/login?next=%2F")
        self.page.locator("input[name=username]").fill(user)
        self.page.locator("input[name=password]").fill(stack.passwords[user])
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(f"{stack.url}/")

    def _note(self, request: Any) -> None:
        if not request.url.startswith((self.stack.url, "data:", "blob:")):
            self.foreign.append(request.url)

    def open(self, path: str) -> Any:
        """A page of Airflow."""
        self.page.goto(f"{self.stack.url}{path}")
        return self.page

    def frame(self) -> Any:
        """The page within Airflow's page."""
        return self.page.frame_locator("iframe")

    def shoot(self, name: str, **settings: Any) -> None:
        """Keep a picture."""
        self.page.screenshot(path=SHOTS / f"{name}.png", **settings)


@pytest.fixture(scope="module")
def admin(browser: Any, stack: Stack) -> Iterator[Visitor]:
    visitor = Visitor(browser, stack, USER)
    yield visitor
    visitor.context.close()


@pytest.fixture
def viewer(browser: Any, stack: Stack) -> Iterator[Visitor]:
    visitor = Visitor(browser, stack, VIEWER)
    yield visitor
    visitor.context.close()
