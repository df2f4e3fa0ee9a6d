"""The page in a real browser, on a real server: drawn on, shown files, looked at on a phone."""

import base64
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from page_models import CLASS_NAMES, LABELS, NUM_VIEWS, encoded, exported

from keras_reprogram.export import saved_model
from keras_reprogram.export.graph_decoder import file_decoder

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
webdriver = pytest.importorskip("selenium.webdriver")
from selenium.webdriver import ActionChains, ChromeOptions, ChromeService, Keys  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.wait import WebDriverWait  # noqa: E402

from keras_reprogram.serving import ModelServer  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver (Debian: chromium-driver)"
)
WAIT_SECONDS = 60


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saved_model, "check_reloaded", lambda *arguments: (0.0, 0))
        folder = exported(tmp_path_factory.mktemp("page"))
    with ModelServer(folder, page=True) as server:
        yield server


@pytest.fixture(scope="module")
def chromium():
    options = ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1200,1000"):
        options.add_argument(argument)
    # Nothing but this machine can be reached, whatever a browser wants to update.
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options, ChromeService(DRIVER))
    yield browser
    browser.quit()


@pytest.fixture
def page(chromium, server):
    """The page, just opened; at the end nothing may have gone wrong or been asked elsewhere."""
    chromium.get_log("performance")
    chromium.get(server.rest_address)
    page = Page(chromium, server)
    page.wait(lambda: page.find("canvas").is_displayed())
    yield page
    assert chromium.get_log("browser") == []
    requested = [url for url in page.requested() if not url.startswith("data:")]
    assert requested
    assert [url for url in requested if not url.startswith(server.rest_address)] == []


class Page:
    def __init__(self, browser, server):
        self.browser, self.server = browser, server

    def find(self, name):
        return self.browser.find_element(By.ID, name)

    def all(self, selector):
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def wait(self, condition):
        WebDriverWait(self.browser, WAIT_SECONDS, 0.05).until(lambda _: condition())

    def stroke(self, *moves):
        """Offsets in pixels from the canvas's middle, where the first one begins."""
        action = ActionChains(self.browser, duration=20)
        action.move_to_element_with_offset(self.find("canvas"), *moves[0]).click_and_hold()
        for right, below in moves[1:]:
            action.move_by_offset(right, below)
        action.release().perform()

    def shown(self):
        """The class and its score as they stand there, once they are those of the canvas."""
        return self.find("best-label").text, self.find("best-score").text

    def canvas_file(self):
        url = self.browser.execute_script("return document.getElementById('canvas').toDataURL()")
        return base64.b64decode(url.split(",", 1)[1])

    def wait_for_answer_to(self, file):
        """Until the page says what the model says of this file."""
        servable = self.server.versions.latest()
        scores = servable.run("image_bytes", {"image_bytes": np.array([file], object)})["scores"][0]
        expected = CLASS_NAMES[scores.argmax()], percent(scores.max())
        self.wait(lambda: self.shown() == expected)
        return expected[0]

    def requested(self):
        messages = [
            json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")
        ]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]

    def pixels(self, image):
        """What the browser shows of an <img>, as colour values."""
        return np.array(
            self.browser.execute_script(
                """const image = arguments[0], canvas = document.createElement("canvas");
                canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
                const context = canvas.getContext("2d"); context.drawImage(image, 0, 0);
                return [...context.getImageData(0, 0, canvas.width, canvas.height).data];""",
                image,
            )
        ).reshape(-1, 4)[:, :3]


def percent(share):
    if 0 < share < 0.001:
        return "< 0.1 %"
    return "> 99.9 %" if 0.999 < share < 1 else f"{100 * share:.1f} %"


@pytest.mark.slow
def test_what_is_drawn_is_answered_step_by_step(page) -> None:
    page.stroke((-60, -60), (60, 30), (60, 60))
    page.stroke((-60, 60), (100, -20))
    assert page.wait_for_answer_to(page.canvas_file()) == "dark"

    images = page.all("#views img")
    assert len(images) == NUM_VIEWS
    for image in [page.find("target-image"), *images]:
        assert image.is_displayed()
        assert len(np.unique(page.pixels(image), axis=0)) > 3
    for view in page.all("#views > li"):
        labels = [label.text for label in view.find_elements(By.CLASS_NAME, "label")]
        assert sorted(labels) == sorted(LABELS)
    assert [label.text for label in page.all("#classes .label")] == CLASS_NAMES

    page.find("invert").click()
    assert page.wait_for_answer_to(page.canvas_file()) == "bright"
    page.find("invert").click()

    page.find("clear").click()
    page.wait(lambda: page.shown() == ("–", ""))
    assert not page.find("target-image").is_displayed()
    assert not page.find("undo").is_enabled()


def test_a_file_is_answered_as_it_is(page, tmp_path) -> None:
    file = encoded(np.random.default_rng(0).integers(0, 256, (9, 7, 3)), "JPEG")
    (tmp_path / "grey.jpg").write_bytes(file)
    page.find("file").send_keys(str(tmp_path / "grey.jpg"))
    assert page.wait_for_answer_to(file) == "grey"
    # A detour over the canvas would blur it.
    target = file_decoder((4, 4, 1), (0.0, 255.0))(tf.constant([file])).numpy()
    np.testing.assert_array_equal(page.pixels(page.find("target-image"))[:, 0], target.ravel())

    (tmp_path / "text.png").write_text("no image")
    page.find("file").send_keys(str(tmp_path / "text.png"))
    page.wait(lambda: page.find("failure").is_displayed())
    assert "cannot read text.png" in page.find("failure-text").text
    assert page.shown()[0] == "grey"


HAND_OVER = """
const bytes = Uint8Array.from(atob(arguments[1]), (letter) => letter.charCodeAt(0));
const data = new DataTransfer();
data.items.add(new File([bytes], "handed_over", { type: `image/${arguments[2]}` }));
const options = { dataTransfer: data, clipboardData: data, bubbles: true, cancelable: true };
const event = arguments[0] === "drop" ? DragEvent : ClipboardEvent;
document.body.dispatchEvent(new event(arguments[0], options));
"""


@pytest.mark.slow
@pytest.mark.parametrize(("way", "kind"), [("drop", "png"), ("paste", "png"), ("drop", "bmp")])
def test_files_can_be_dropped_and_pasted(page, way, kind) -> None:
    """What the server does not read is sent as PNG, pixel by pixel the same."""
    codes = np.random.default_rng(1).integers(150, 256, (30, 20, 3))
    content = base64.b64encode(encoded(codes, kind.upper())).decode()
    page.browser.execute_script(HAND_OVER, way, content, kind)
    assert page.wait_for_answer_to(encoded(codes)) == "bright"


@pytest.mark.slow
def test_it_can_be_drawn_on_with_the_keyboard(page) -> None:
    page.browser.execute_script("document.getElementById('canvas').focus()")
    keys = ActionChains(page.browser).send_keys(Keys.SPACE)
    keys.send_keys(*[Keys.ARROW_RIGHT] * 15, *[Keys.ARROW_DOWN] * 10, Keys.SPACE).perform()
    drawn = page.canvas_file()
    page.wait_for_answer_to(drawn)
    # The pen is up: it moves and leaves nothing.
    ActionChains(page.browser).send_keys(*[Keys.ARROW_LEFT] * 5).perform()
    assert page.canvas_file() == drawn
    page.browser.switch_to.active_element.send_keys(Keys.CONTROL, "z")
    page.wait(lambda: page.shown() == ("–", ""))


@pytest.mark.slow
def test_an_example_and_every_control_has_a_name(page) -> None:
    page.all("#examples button")[1].click()
    page.wait_for_answer_to(page.canvas_file())
    for control in page.all("button, input, canvas[tabindex]"):
        if control.is_displayed():
            assert control.accessible_name, control.get_attribute("outerHTML")


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(320, "dark"), (390, "light"), (1200, "dark")])
def test_nothing_is_wider_than_the_window(page, width, scheme) -> None:
    command = page.browser.execute_cdp_cmd
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    try:
        command("Emulation.setDeviceMetricsOverride", size)
        media = [{"name": "prefers-color-scheme", "value": scheme}]
        command("Emulation.setEmulatedMedia", {"features": media})
        page.stroke((-60, -60), (60, 30))
        page.wait_for_answer_to(page.canvas_file())
        script = "return document.documentElement.scrollWidth"
        assert page.browser.execute_script(script) <= width
    finally:
        command("Emulation.clearDeviceMetricsOverride", {})
        command("Emulation.setEmulatedMedia", {"features": []})


def test_what_costs_queries_is_asked_only_when_told_to(chromium, server, monkeypatch) -> None:
    servable = server.versions.latest()
    monkeypatch.setattr(servable, "costs_queries", True, raising=False)
    asked, run = [], servable.run
    monkeypatch.setattr(servable, "run", lambda *args: asked.append(args) or run(*args))
    chromium.get(server.rest_address)
    page = Page(chromium, server)
    page.wait(lambda: page.find("ask").is_displayed())
    assert not page.find("ask").is_enabled()
    assert f"costs {NUM_VIEWS} image queries" in page.find("price").text
    page.stroke((-60, -60), (60, 30))
    page.wait(lambda: page.find("ask").is_enabled())
    assert asked == []
    page.find("ask").click()
    page.wait(lambda: page.shown()[0] == "dark")
    assert [name for name, _ in asked] == ["steps"]


@pytest.mark.slow
def test_a_server_that_is_gone_is_told_of(chromium, server) -> None:
    chromium.get(server.rest_address)
    page = Page(chromium, server)
    page.wait(lambda: page.find("canvas").is_displayed())
    chromium.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    chromium.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    try:
        page.stroke((-60, -60), (60, 30))
        page.wait(lambda: page.find("failure").is_displayed())
        assert "does not answer" in page.find("failure-text").text
    finally:
        online = offline | {"offline": False, "downloadThroughput": -1, "uploadThroughput": -1}
        chromium.execute_cdp_cmd("Network.emulateNetworkConditions", online)
    page.find("again").click()
    page.wait_for_answer_to(page.canvas_file())
    assert not page.find("failure").is_displayed()
    # Chromium itself tells of requests that fail.
    chromium.get_log("browser")
