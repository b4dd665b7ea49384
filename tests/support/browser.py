"""Pages in headless Chromium, driven by Playwright; the fixture `browser` starts it."""

import shutil

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
"""Path of the browser, None where there is none."""
TIMEOUT = 60_000
"""Milliseconds to wait for anything on a page."""


def open_page(browser, path, width=1280, **options):
    """Open a file in a window `width` pixels wide; `options` are those of Playwright's `Browser.new_page`."""
    page = browser.new_page(viewport={"width": width, "height": 900}, **options)
    page.set_default_timeout(TIMEOUT)
    page.goto(path.as_uri())
    return page


def errors(page):
    """Return the texts of the page's uncaught exceptions and console messages, which include failed requests."""
    page.evaluate("0")  # let pending events arrive
    return [error.message for error in page.page_errors()] + [message.text for message in page.console_messages()]


def requests(page):
    """Return the URLs that the page has requested."""
    return {request.url for request in page.requests()}
