"""A page on a static server, in a real browser: what is clicked, shown, asked for and logged."""

import functools
import http.server
import json
import re
import shutil
import ssl
import subprocess
import sys
import threading

import numpy as np
import pytest

webdriver = pytest.importorskip("selenium.webdriver")
from selenium.common.exceptions import StaleElementReferenceException  # noqa: E402
from selenium.webdriver import ActionChains, ChromeOptions, ChromeService, Keys  # noqa: E402, F401
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.wait import WebDriverWait  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
NO_BROWSER = "needs chromium and chromedriver (Debian: chromium-driver)"
WAIT_SECONDS = 60
# A picture moves in front of the camera, which may always be used.
FAKE_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
STARTING = re.compile("litertjs|No available adapters")
# `target_codes` reads the canvas of what is shown; the page itself never does.
OF_THIS_TEST = re.compile("willReadFrequently")
NOWHERE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"


def chromium(*arguments):
    options = ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,900"),
        *FAKE_CAMERA,
        *arguments,
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options, ChromeService(DRIVER))


class PlainServer:
    """`python -m http.server`, as the export tells its user to start it."""

    def __init__(self, folder):
        command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
        self._process = subprocess.Popen(
            [*command, "--directory", str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        port = re.search(r"port (\d+)", self._process.stdout.readline())[1]
        self.address = f"http://127.0.0.1:{port}/"

    def __enter__(self):
        return self.address

    def __exit__(self, *error):
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


class HeaderServer:
    """A static server that adds headers; speaks TLS with a certificate file."""

    def __init__(self, folder, headers, certificate=None):
        class Handler(http.server.SimpleHTTPRequestHandler):
            def end_headers(self):
                for name, value in headers.items():
                    self.send_header(name, value)
                super().end_headers()

            def log_message(self, *arguments):
                pass

        handler = functools.partial(Handler, directory=str(folder))
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self.address = f"http://127.0.0.1:{self.port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self.address

    def __exit__(self, *error):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class BrowserPage:
    """The page at an address."""

    def __init__(self, browser, address):
        self.browser, self.address = browser, address
        browser.get_log("browser")
        browser.get_log("performance")
        browser.get(address)

    def find(self, name):
        return self.browser.find_element(By.ID, name)

    def all(self, selector):
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def wait(self, condition):
        waiting = WebDriverWait(self.browser, WAIT_SECONDS, 0.02, [StaleElementReferenceException])
        return waiting.until(lambda _: condition())

    def script(self, text, *arguments):
        return self.browser.execute_script(text, *arguments)

    def focused(self):
        return self.browser.switch_to.active_element.get_attribute("id")

    def opened(self):
        self.wait(lambda: self.find("main").is_displayed())
        assert not self.find("problem").is_displayed()
        return self

    def problem(self):
        """What the page says where it cannot be used."""
        self.wait(lambda: self.find("problem").get_attribute("role") == "alert")
        assert not self.find("main").is_displayed()
        return self.find("problem").text

    def answer_to(self, file):
        """The class and the probability that are shown of an image file."""
        self.script("document.getElementById('best-label').textContent = ''")
        self.find("file").send_keys(str(file))
        self.wait(lambda: self.find("best-label").text or self.find("failure").text)
        assert not self.find("failure").is_displayed(), self.find("failure").text
        return self.find("best-label").text, self.find("best-score").text

    def failure_of(self, file):
        self.find("file").send_keys(str(file))
        self.wait(lambda: self.find("failure").is_displayed())
        return self.find("failure").text

    def target_codes(self):
        """What the model was shown, uint8 `(h, w, 3)`."""
        width, height, codes = self.script(
            """const canvas = document.getElementById("target"), { width, height } = canvas;
            const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
            return [width, height, [...data]];"""
        )
        return np.array(codes, np.uint8).reshape(height, width, 4)[..., :3]

    def check_quiet(self):
        """Nothing was logged, and nothing asked of another server."""
        logged = self.logged()
        assert not logged, logged
        others = [url for url in self.requested() if not url.startswith(self.address)]
        assert [url for url in others if not url.startswith(("data:", "blob:"))] == []

    def logged(self):
        """What the browser logged, without what LiteRT.js says of accelerators when it starts."""
        entries = [entry["message"] for entry in self.browser.get_log("browser")]
        expected = (STARTING, OF_THIS_TEST)
        return [text for text in entries if not any(kind.search(text) for kind in expected)]

    def requested(self):
        entries = self.browser.get_log("performance")
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]
