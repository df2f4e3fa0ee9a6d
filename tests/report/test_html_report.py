import base64
import io
import os
import stat
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from keras_reprogram.report import (
    ReportSection,
    ResultRow,
    TextTable,
    classification_metrics,
    draw_confusion_matrix,
    write_html_report,
)

EVIL = "<script>alert('&')</script>"
VOID = {"meta", "img", "link", "br"}


class Page(HTMLParser):
    """Checks that tags nest, and collects what a test asks about."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.images, self.data = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.data.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.data).split())


@pytest.fixture
def sections():
    probabilities = np.array([[0.9, 0.1, 0], [0.6, 0.4, 0], [0.2, 0.8, 0], [0.3, 0.7, 0]])
    metrics = classification_metrics([0, 1, 1, 1], probabilities, ["benign", EVIL, "absent one"])
    rows = [
        ResultRow(EVIL, (0.939, 0.945, 0.951), 8000, 8, 12.0, note=EVIL),
        ResultRow("SVM on pixels", (0.97,)),
    ]
    figure = draw_confusion_matrix(metrics.confusion_matrix, ["benign", EVIL, "absent one"])
    return [
        ReportSection(EVIL, text=f"first {EVIL}\n\nsecond", table=rows),
        ReportSection("Classes", metrics=metrics, figure=figure),
        ReportSection("Bare figure", figure=Figure((2, 1))),
        ReportSection(
            "Settings", details={EVIL: EVIL, "nested": {"queries": 8000, "list": [1, None]}}
        ),
    ]


def write(path, sections=(), **options):
    return write_html_report(path, title=EVIL, introduction=EVIL, sections=sections, **options)


def read(path):
    text = path.read_text(encoding="utf-8")
    return text, Page(text)


def test_page_is_well_formed_and_holds_every_part(tmp_path, sections):
    text, page = read(write(tmp_path / "report.html", sections))
    assert text.startswith("<!DOCTYPE html>")
    assert page.open == []
    assert [tag for tag, _ in page.tags].count("section") == 4
    for part in (".945 ± .006", "8,000", "standard deviation", "SVM on pixels", "0.750 ["):
        assert part in page.text
    assert "classes without an example absent one" in page.text
    assert "second" in page.text
    assert "1, -" in page.text


def test_nothing_is_read_as_markup(tmp_path, sections):
    text, page = read(write(tmp_path / "report.html", sections))
    assert "script" not in {tag for tag, _ in page.tags}
    assert "<script" not in text
    # Title twice, introduction, heading, text, method, note, class name, details name and value.
    assert page.text.count(EVIL) == 10


def test_page_needs_no_other_file(tmp_path, sections):
    text, page = read(write(tmp_path / "report.html", sections))
    assert "http" not in text
    assert "url(" not in text
    assert "link" not in {tag for tag, _ in page.tags}
    assert "prefers-color-scheme: dark" in text


def test_every_image_is_a_png_with_alt_text(tmp_path, sections):
    _, page = read(write(tmp_path / "report.html", sections))
    assert len(page.images) == 2
    for attributes in page.images:
        kind, data = attributes["src"].split(",", 1)
        assert kind == "data:image/png;base64"
        with Image.open(io.BytesIO(base64.b64decode(data, validate=True))) as image:
            image.load()
            assert image.format == "PNG"
            assert image.width == pytest.approx(1.5 * int(attributes["width"]), abs=2)
    assert page.images[0]["alt"].startswith("Confusion matrix of 3 classes")
    assert page.images[1]["alt"] == "Figure: Bare figure"


def test_a_table_of_words_is_shown_and_escaped(tmp_path):
    table = TextTable(("class", "labels"), (("zero", EVIL), ("one", "stop, yield")))
    text, page = read(write(tmp_path / "report.html", [ReportSection("x", text_table=table)]))
    assert "stop, yield" in page.text
    assert "<script" not in text
    assert [tag for tag, _ in page.tags].count("tr") == 3


def test_a_table_of_words_is_complete():
    with pytest.raises(ValueError, match="2 cells a row.*1 in row 1"):
        TextTable(("class", "labels"), (("zero", "stop"), ("one",)))


def test_a_figure_too_wide_to_shrink_is_scrolled(tmp_path):
    figures = [Figure((12, 1)), Figure((15, 1))]
    _, page = read(write(tmp_path / "a.html", [ReportSection("x", figure=f) for f in figures]))
    classes = [attributes.get("class") for tag, attributes in page.tags if tag == "figure"]
    assert classes == [None, "wide"]


def test_an_existing_file_is_kept_unless_told(tmp_path):
    path = tmp_path / "deep" / "report.html"
    assert write(str(path)) == path
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        write(path)
    assert path.read_text() == "mine"
    write(path, overwrite=True)
    assert path.read_text().startswith("<!DOCTYPE html>")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(IsADirectoryError, match=r"report\.html"):
        write(tmp_path, overwrite=True)


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, failure, step):
    path = tmp_path / "report.html"
    path.write_text("old")

    def fail(*args):
        assert len(list(tmp_path.iterdir())) == 2  # the new file was there before it failed
        raise failure

    monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), fail)
    with pytest.raises(type(failure)):
        write(path, overwrite=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]
    assert path.read_text() == "old"


def test_the_file_has_the_permissions_of_any_other(tmp_path):
    other = tmp_path / "other"
    other.write_text("")
    mode = stat.S_IMODE(write(tmp_path / "report.html").stat().st_mode)
    assert mode == stat.S_IMODE(other.stat().st_mode)


def test_names_without_utf8_bytes_are_written_all_the_same(tmp_path):
    path = write(tmp_path / "report.html", [ReportSection("caf\udce9")])
    assert "caf\\udce9" in path.read_text(encoding="utf-8")
