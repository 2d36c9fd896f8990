"""What all tests share: one thread for torch, and a browser for every test that looks at a page."""

import shutil

import pytest
import torch

from throughtime import measuring
from throughtime.budget import Shares

# The networks of the tests are small: a second thread has nothing to do but to wait, for long on a busy machine.
torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    """Without a GPU, what needs one is skipped."""
    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA device on this machine"))


@pytest.fixture
def in_parts(monkeypatch):
    """in_parts(...): from now on, an examination has room for so little at once."""

    def in_parts(sources=1, derivatives=1, lags=1):
        shares = Shares(derivatives, sources)
        monkeypatch.setattr(measuring, "shared_out", lambda *_: shares)
        monkeypatch.setattr(measuring, "SINGLE_LAGS", lags)

    return in_parts


@pytest.fixture(scope="session")
def browser():
    """Debian's Chromium, headless."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser):
    """open_page(path, **options of a browser context): the page of a file, once its pictures are drawn.

    The test fails if the page wrote an error, opened a dialog, or asked for anything but a file.
    """
    contexts, complaints = [], []

    def open_page(path, ready="html.drawn", **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(120_000)  # milliseconds: a busy machine draws slowly
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: _is_local(request.url) or complaints.append(f"request: {request.url}"))
        page.goto(path.resolve().as_uri())
        page.wait_for_selector(ready, state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def _is_local(url):
    return url.startswith(("file:", "data:", "about:", "blob:"))
