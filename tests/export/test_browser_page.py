"""The exported page in Chromium, with LiteRT.js as `npm ci` brings it: Keras's classes, offline."""

import json
import os
import shutil
import subprocess

import keras
import numpy as np
import pytest
from PIL import Image
from static_pages import (
    CHROMIUM,
    DRIVER,
    NO_BROWSER,
    NOWHERE,
    ActionChains,
    BrowserPage,
    HeaderServer,
    Keys,
    PlainServer,
    chromium,
)

from keras_reprogram import (
    DenseMap,
    FrozenSource,
    ProgramLayer,
    ReprogrammedModel,
    embedded_path,
)
from keras_reprogram.asking.image_reading import ImageReading
from keras_reprogram.datasets import load_cifar10, load_digits
from keras_reprogram.datasets.image_files import decode_image
from keras_reprogram.export import export_browser_page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=NO_BROWSER),
]
COUNT = 50
SIZES = ((320, "dark"), (390, "light"), (1280, "dark"))


def fitted(data, source, **options):
    program = ProgramLayer(
        data.target_shape,
        source.source_shape,
        source_range=(0, 255),
        target_range=(0, 255),
        **options,
    )
    model = ReprogrammedModel(program, source, DenseMap(10), class_names=data.class_names)
    model.fit_output_map(data.train_images, data.train_labels, verbose=0)
    return model


def digits_model(data):
    network = keras.models.load_model(embedded_path("traffic_signs.keras"))
    source = FrozenSource(network, value_range=(0, 255))
    return fitted(data, source, num_views=3, placement="views")


def cifar_model(data):
    source = FrozenSource.from_application("MobileNet", alpha=0.25, input_shape=(128, 128, 3))
    return fitted(data, source)


@pytest.fixture(scope="module")
def digits_data():
    return load_digits().draw(train_images=600, test_images=COUNT, seed=0)


@pytest.fixture(scope="module")
def digits(digits_data):
    return digits_model(digits_data)


@pytest.fixture(scope="module")
def page_without_runtime(digits, digits_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages") / "digits"
    return export_browser_page(
        digits, folder, title="Digits <&>", calibration_images=digits_data.train_images
    )


@pytest.fixture(scope="module")
def runtime(page_without_runtime):
    """LiteRT.js, as the one command brings it."""
    if shutil.which("npm") is None:
        pytest.skip("needs npm (Debian: npm)")
    command = ["npm", "ci", "--prefix", str(page_without_runtime)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    brought = page_without_runtime / "litertjs"
    if done.returncode:
        pytest.skip(f"npm cannot bring LiteRT.js: {done.stderr[-300:]}")
    return brought


@pytest.fixture(scope="module")
def folder(page_without_runtime, runtime):
    return page_without_runtime


@pytest.fixture(scope="module")
def browser():
    driver = chromium(NOWHERE)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def address(folder):
    with PlainServer(folder) as address:
        yield address


@pytest.fixture
def page(browser, address):
    """The page, just opened; at the end nothing may have gone wrong or been asked elsewhere."""
    page = BrowserPage(browser, address).opened()
    yield page
    page.check_quiet()


def write_images(images, folder):
    files = []
    for number, image in enumerate(images.astype(np.uint8)):
        files.append(folder / f"{number}.png")
        Image.fromarray(image if image.shape[-1] == 3 else image[..., 0]).save(files[-1])
    return files


def check_answers(page, model, images, class_names, folder):
    expected = model.predict(images.astype("float32"), verbose=0)
    differences = []
    for file, scores in zip(write_images(images, folder), expected, strict=True):
        name, share = page.answer_to(file)
        assert name == str(class_names[scores.argmax()])
        shown = float(share.strip("<> %")) / 100
        differences.append(abs(shown - scores.max()))
    print(f"\n{len(images)} images, largest difference of a probability: {max(differences):.4f}")
    # Half float weights, and a tenth of a per cent that is shown.
    assert max(differences) < 0.02


def test_digits_get_kerass_classes(page, digits, digits_data, tmp_path) -> None:
    check_answers(page, digits, digits_data.test_images, digits_data.class_names, tmp_path)
    assert page.browser.title == page.all("h1")[0].text == "Digits <&>"


def test_photographs_get_kerass_classes(browser, runtime, keras_home, reprogram_data, tmp_path):
    data = load_cifar10().draw(train_images=1000, test_images=COUNT, seed=0)
    model = cifar_model(data)
    # With one view of this small network float16 changes the class of 16 of 1,000 images.
    folder = export_browser_page(model, tmp_path / "page", form="float32")
    shutil.copytree(runtime, folder / "litertjs")
    with PlainServer(folder) as address:
        page = BrowserPage(browser, address).opened()
        check_answers(page, model, data.test_images, data.class_names, tmp_path)
        page.check_quiet()


def noise(size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def smooth(size):
    """What a JPEG file keeps as it is, up to a few levels."""
    rows, columns = np.meshgrid(*(np.linspace(0, 1, side) for side in size), indexing="ij")
    waves = np.stack([rows, columns, np.sin(9 * rows * columns)], axis=-1)
    return (255 * np.clip(waves, 0, 1)).astype(np.uint8)


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_files_are_read_as_in_training(browser, folder, tmp_path, fit) -> None:
    """Larger, smaller, wider and higher files, and a photograph that was taken sideways."""
    copied = shutil.copytree(
        folder, tmp_path / "page", ignore=shutil.ignore_patterns("node_modules")
    )
    facts = json.loads((copied / "model.json").read_text())
    (copied / "model.json").write_text(json.dumps({**facts, "fit": fit}))
    files = []
    for number, size in enumerate([(300, 200), (5, 7), (8, 8), (9, 640), (31, 3)]):
        files.append(tmp_path / f"{number}.png")
        Image.fromarray(noise(size)).save(files[-1])
    sideways = Image.Exif()
    sideways[0x0112] = 6
    files.append(tmp_path / "sideways.jpg")
    Image.fromarray(smooth((240, 360))).save(files[-1], quality=90, exif=sideways)
    with PlainServer(copied) as address:
        page = BrowserPage(browser, address).opened()
        for file in files:
            page.answer_to(file)
            seen = page.target_codes().astype(int)
            reading = ImageReading(fit=fit)
            expected = decode_image(file, file.name, grey=True, size=(8, 8), reading=reading)
            assert np.abs(seen - expected).max() <= 1, file.name
            assert np.mean(seen == expected) > 0.95, file.name
        page.check_quiet()


def test_colours_are_read_as_in_training(browser, folder, tmp_path) -> None:
    """A page whose target has colours, whatever its model would make of them."""
    copied = shutil.copytree(
        folder, tmp_path / "page", ignore=shutil.ignore_patterns("node_modules")
    )
    facts = json.loads((copied / "model.json").read_text())
    file = tmp_path / "colours.png"
    Image.fromarray(noise((50, 41))).save(file)
    with PlainServer(copied) as address:
        page = BrowserPage(browser, address).opened()
        codes = page.browser.execute_async_script(
            """const [bytes, facts, done] = arguments;
            (async () => {
              const { targetCodes } = await import("./pixels.js");
              const { readPicture } = await import("./picture_files.js");
              const picture = await readPicture(new File([Uint8Array.from(bytes)], "colours.png"));
              return [...targetCodes(picture, picture.width, picture.height, facts)];
            })().then(done, (error) => done(String(error)));""",
            list(file.read_bytes()),
            {**facts, "target_shape": [16, 12, 3]},
        )
    seen = np.array(codes).reshape(16, 12, 3)
    expected = decode_image(file, file.name, grey=False, size=(16, 12))
    assert np.abs(seen - expected).max() <= 1 and np.mean(seen == expected) > 0.95


def test_the_camera_is_classified_until_it_is_stopped(page) -> None:
    camera = page.find("camera")
    camera.click()
    page.wait(lambda: page.find("video").is_displayed())
    page.wait(lambda: page.find("best-label").text not in ("", "–"))
    assert camera.get_attribute("aria-pressed") == "true"
    assert page.find("best").get_attribute("aria-live") == "off"
    assert len(np.unique(page.target_codes())) > 2
    camera.click()
    page.wait(lambda: page.find("best-label").text == "–")
    assert not page.find("video").is_displayed()
    assert page.script("return document.getElementById('video').srcObject") is None


def test_an_image_file_stops_the_camera(page, tmp_path) -> None:
    page.find("camera").click()
    page.wait(lambda: page.find("best-label").text not in ("", "–"))
    Image.fromarray(noise((9, 9))).save(tmp_path / "one.png")
    page.answer_to(tmp_path / "one.png")
    page.wait(lambda: page.find("camera").get_attribute("aria-pressed") == "false")
    assert page.find("picture").is_displayed() and not page.find("video").is_displayed()
    assert page.find("best-label").text != "–"


def test_a_camera_that_is_not_allowed_is_told_of(page) -> None:
    page.script(
        "navigator.mediaDevices.getUserMedia = async () => {"
        " throw new DOMException('no', 'NotAllowedError'); };"
    )
    page.find("camera").click()
    page.wait(lambda: page.find("failure").is_displayed())
    assert "was not allowed" in page.find("failure").text
    assert page.find("camera").get_attribute("aria-pressed") == "false"


def test_files_that_cannot_be_read_are_told_of(page, tmp_path) -> None:
    (tmp_path / "text.png").write_text("no image")
    assert "cannot read text.png" in page.failure_of(tmp_path / "text.png")
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "deep.png")
    assert "16 bits" in page.failure_of(tmp_path / "deep.png")
    Image.fromarray(noise((4, 4))).save(tmp_path / "fine.png")
    page.answer_to(tmp_path / "fine.png")


def test_it_is_used_with_the_keyboard(page) -> None:
    for control in page.all("button, input"):
        assert control.accessible_name, control.get_attribute("outerHTML")
    ActionChains(page.browser).send_keys(Keys.TAB).perform()
    assert page.focused() == "file"
    # The input itself is hidden; its label shows where one is.
    outline = "return getComputedStyle(document.querySelector('label.button')).outlineStyle"
    assert page.script(outline) == "solid"
    ActionChains(page.browser).send_keys(Keys.TAB, Keys.ENTER).perform()
    assert page.focused() == "camera"
    page.wait(lambda: page.find("camera").get_attribute("aria-pressed") == "true")
    page.browser.switch_to.active_element.send_keys(Keys.ENTER)
    page.wait(lambda: page.find("camera").get_attribute("aria-pressed") == "false")


@pytest.mark.parametrize(("width", "scheme"), SIZES)
def test_nothing_is_wider_than_the_window(page, tmp_path, width, scheme) -> None:
    Image.fromarray(smooth((300, 400))).save(tmp_path / "one.png")
    command = page.browser.execute_cdp_cmd
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
    try:
        command("Emulation.setDeviceMetricsOverride", size)
        media = [{"name": "prefers-color-scheme", "value": scheme}]
        command("Emulation.setEmulatedMedia", {"features": media})
        page.answer_to(tmp_path / "one.png")
        assert page.script("return document.documentElement.scrollWidth") <= width
        if kept := os.environ.get("KERAS_REPROGRAM_SCREENSHOTS"):
            page.browser.save_screenshot(f"{kept}/{width}-{scheme}.png")
    finally:
        command("Emulation.clearDeviceMetricsOverride", {})
        command("Emulation.setEmulatedMedia", {"features": []})


def test_foreign_scripts_and_servers_are_refused(browser, address) -> None:
    page = BrowserPage(browser, address).opened()
    page.script(
        "const script = document.createElement('script'); script.textContent = 'window.bad = 1';"
        "document.body.append(script);"
    )
    assert page.script("return window.bad") is None
    asked = "const done = arguments[0]; fetch('http://localhost:9/').catch((e) => done(String(e)))"
    assert "Failed to fetch" in page.browser.execute_async_script(asked)
    logged = " ".join(page.logged())
    assert "script-src" in logged and "connect-src" in logged


def test_a_server_that_isolates_the_page_gives_it_threads(browser, folder, tmp_path) -> None:
    isolated = {
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Embedder-Policy": "require-corp",
    }
    Image.fromarray(noise((9, 9))).save(tmp_path / "one.png")
    with HeaderServer(folder, isolated) as address:
        page = BrowserPage(browser, address).opened()
        threaded = page.answer_to(tmp_path / "one.png")
        assert any(url.endswith("litert_wasm_threaded_internal.wasm") for url in page.requested())
        assert page.logged() == []
    with PlainServer(folder) as address:
        page = BrowserPage(browser, address).opened()
        assert page.answer_to(tmp_path / "one.png") == threaded


def test_what_is_missing_is_named(browser, folder, tmp_path) -> None:
    copied = shutil.copytree(
        folder, tmp_path / "page", ignore=shutil.ignore_patterns("node_modules", "litertjs")
    )
    with PlainServer(copied) as address:
        assert "Run `npm ci` in that folder" in BrowserPage(browser, address).problem()
    shutil.copytree(folder / "litertjs", copied / "litertjs")
    (copied / "model.tflite").unlink()
    with PlainServer(copied) as address:
        assert "no model.tflite (status 404)" in BrowserPage(browser, address).problem()
    (copied / "model.tflite").write_bytes(b"no model")
    with PlainServer(copied) as address:
        assert "LiteRT.js cannot run model.tflite" in BrowserPage(browser, address).problem()
    # As a file it has no server; what is then read stands in the page itself.
    page = BrowserPage(browser, f"file://{copied}/index.html")
    assert "python -m http.server" in page.find("problem").text
    assert not page.find("main").is_displayed()


def test_a_browser_without_webassembly_is_told_of(folder) -> None:
    driver = chromium(NOWHERE, "--js-flags=--jitless")  # without it there is none
    try:
        with PlainServer(folder) as address:
            assert "has no WebAssembly" in BrowserPage(driver, address).problem()
    finally:
        driver.quit()


def test_a_content_delivery_network_is_asked_where_it_was_chosen(
    digits, digits_data, runtime, tmp_path
) -> None:
    """A server with the network's name and layout stands in for it."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl, which makes a certificate")
    certificate = tmp_path / "both.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    parts = ["-subj", "/CN=cdn.jsdelivr.net", "-keyout", tmp_path / "key", "-out", certificate]
    subprocess.run([*made, *map(str, parts)], check=True, capture_output=True)
    certificate.write_text((tmp_path / "key").read_text() + certificate.read_text())
    folder = export_browser_page(
        digits, tmp_path / "page", cdn=True, calibration_images=digits_data.train_images
    )
    versions = json.loads((folder / "package.json").read_text())["dependencies"]
    for name, version in versions.items():
        package = name.removeprefix("@litertjs/")
        shutil.copytree(runtime / package, tmp_path / f"cdn/npm/@litertjs/{package}@{version}")
    Image.fromarray(noise((9, 9))).save(tmp_path / "one.png")
    there = HeaderServer(tmp_path / "cdn", {"Access-Control-Allow-Origin": "*"}, certificate)
    with there, PlainServer(folder) as address:
        mapped = f"MAP cdn.jsdelivr.net:443 127.0.0.1:{there.port}"
        driver = chromium(
            f"--host-resolver-rules={mapped}, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--ignore-certificate-errors",
        )
        try:
            page = BrowserPage(driver, address).opened()
            page.answer_to(tmp_path / "one.png")
            wasm = [url for url in page.requested() if url.endswith(".wasm")]
            assert wasm and wasm[0].startswith("https://cdn.jsdelivr.net/npm/@litertjs/core@")
            assert page.logged() == []
        finally:
            driver.quit()
