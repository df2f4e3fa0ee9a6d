"""Takes the picture of the demo page that the README shows: a digit drawn by the mouse.

    pip install -e '.[server]' selenium    # and Chromium with chromedriver
    python examples/serving/screenshot.py --output examples/serving/page.png

Without `--folder` a model is made first (half a minute): digits through the embedded traffic-sign
classifier, with four views.
"""

import argparse
import base64
import math
import shutil
import tempfile
from pathlib import Path

from selenium.webdriver import ActionChains, Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from keras_reprogram.command_line.demo_methods import exact_map
from keras_reprogram.command_line.keras_sources import embedded_keras
from keras_reprogram.datasets import load_target
from keras_reprogram.export import export_saved_model
from keras_reprogram.serving import ModelServer

BOW = [(math.radians(angle), 0.2 + angle / 4000) for angle in range(-125, 156, 14)]
# A five in two strokes, as shares of the canvas.
STROKES = (
    ((0.6, 0.13), (0.48, 0.13), (0.38, 0.12), (0.36, 0.27), (0.345, 0.45))
    + tuple((0.46 + size * math.cos(turn), 0.65 + size * math.sin(turn)) for turn, size in BOW),
    ((0.6, 0.13), (0.7, 0.12)),
)


def export_digits(folder: Path) -> Path:
    """A version folder's parent, with version 1 in it."""
    data = load_target("digits").draw(1000, None, seed=0)
    model = exact_map(4)(data, 0).model
    export_saved_model(model, folder / "digits", source=embedded_keras())
    return folder / "digits"


def draw(browser, strokes) -> None:
    canvas = browser.find_element(By.ID, "canvas")
    width, height = canvas.size["width"], canvas.size["height"]
    for points in strokes:
        offsets = [(round((x - 0.5) * width), round((y - 0.5) * height)) for x, y in points]
        action = ActionChains(browser, duration=15)
        action.move_to_element_with_offset(canvas, *offsets[0]).click_and_hold()
        for offset in offsets[1:]:
            action.move_to_element_with_offset(canvas, *offset)
        action.release().perform()


def take_picture(address: str, options: argparse.Namespace) -> None:
    """Opens the page, draws, waits for the answer, and saves the whole page."""
    chrome = ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        chrome.add_argument(argument)
    browser = Chrome(chrome, ChromeService(shutil.which("chromedriver")))
    try:
        size = {"width": options.width, "height": 900, "deviceScaleFactor": 1}
        size["mobile"] = options.width < 600
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = [{"name": "prefers-color-scheme", "value": options.scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        browser.get(address)
        wait = WebDriverWait(browser, 30)
        wait.until(lambda _: browser.find_element(By.ID, "canvas").is_displayed())
        draw(browser, STROKES)
        wait.until(lambda _: browser.find_element(By.ID, "target-image").is_displayed())
        wait.until(lambda _: not browser.execute_script(STILL_MOVING))
        whole = {"format": "png", "captureBeyondViewport": True}
        picture = browser.execute_cdp_cmd("Page.captureScreenshot", whole)["data"]
        options.output.write_bytes(base64.b64decode(picture))
    finally:
        browser.quit()


STILL_MOVING = """return document.getElementById("output").getAttribute("aria-busy") === "true"
    || document.getAnimations().length > 0"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="of an export, such as saved_models/digits")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "page.png")
    parser.add_argument("--width", type=int, default=1200, help="of the window, in pixels")
    parser.add_argument("--scheme", choices=["light", "dark"], default="light")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = options.folder or export_digits(Path(folder))
        with ModelServer(model, page=True) as server:
            take_picture(server.rest_address, options)
    print(options.output)


if __name__ == "__main__":
    main()
