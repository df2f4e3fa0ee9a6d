"""The scripts that compute and measure growth, on small numbers."""

import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

FOLDER = Path(__file__).parents[2] / "examples" / "benchmark"


@pytest.fixture(scope="module")
def parts() -> Iterator[SimpleNamespace]:
    """The benchmark's modules, which are no package; forgotten afterwards."""
    before = set(sys.modules)
    sys.path.insert(0, str(FOLDER))
    names = ("growth", "growth_curves", "ledger_throughput")
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    sys.path.remove(str(FOLDER))
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(FOLDER)):
            del sys.modules[name]


def run(main: object, *arguments: object) -> Result:
    app = typer.Typer()
    app.command()(main)
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def constants(parts: SimpleNamespace) -> object:
    return parts.growth.Constants(
        request_bytes=50_000, answer_bytes=20_000, sqlite_rows=200, sqlite_row_bytes=4_500,
        scores=25, fit_rows=1000, fit_seconds=2.0, fit_megabytes=10.0, processors=2,
        load_average=0.5,
        postgres_rows=1600, postgres_row_bytes=5_000,
    )  # fmt: skip


def cells(text: str) -> dict[str, list[str]]:
    """First cell of each row of all tables -> the others."""
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}


def test_a_million_images_are_multiplied_out(parts: SimpleNamespace, constants: object) -> None:
    plan = parts.growth.Plan(price=1.5, service_seconds=0.1, in_flight=16)
    found = cells("\n".join(parts.growth.million_lines(constants, plan)))
    assert found["queries"] == ["1,000,000", "4,000,000"]
    assert found["money"] == ["$1,500", "$6,000"]
    assert found["sent"] == ["50 GB", "200 GB"]
    assert found["received"] == ["20 GB", "80 GB"]
    assert found["SQLite ledger"] == ["4.5 GB", "18 GB"]
    assert found["PostgreSQL ledger"] == ["5 GB", "20 GB"]
    # 160 queries a second are fewer than the ledger takes.
    assert found["waiting for the service alone"] == ["1.7 h", "6.9 h"]
    assert found["through a SQLite ledger"] == ["1.7 h", "6.9 h"]
    assert found["MobileNetV2 on this machine instead"] == ["11.1 h", "44.4 h"]


def test_a_ledger_is_full_where_replicas_want_more(
    parts: SimpleNamespace, constants: object
) -> None:
    plan = parts.growth.Plan(service_seconds=0.1, in_flight=16)
    text = "\n".join(parts.growth.replica_lines(constants, plan))
    found = cells(text)
    assert found["1"] == ["160", "1.7 h", "1.7 h"]
    # 10 replicas want 1,600 a second: PostgreSQL gives them just that, SQLite 200.
    assert found["10"] == ["1,600", "1.4 h, full", "0.2 h"]
    assert found["1,000"] == ["160,000", "1.4 h, full", "0.2 h, full"]
    assert "One SQLite ledger is full at 1.2 replicas" in text
    assert "One PostgreSQL ledger is full at 10.0 replicas" in text
    alone = replace(constants, postgres_rows=None, postgres_row_bytes=None)
    assert "PostgreSQL" not in "\n".join(parts.growth.replica_lines(alone, plan))


def test_ten_services_and_the_exact_map(parts: SimpleNamespace, constants: object) -> None:
    plan = parts.growth.Plan(price=1.0)
    found = cells(parts.growth.tables(constants, plan))
    assert found["sent and received"] == ["700 GB", "700 GB"]
    # Each at 160 a second by itself; 1,600 together, of which SQLite gives 200.
    assert found["SQLite"] == ["1.7 h", "13.9 h"]
    assert found["PostgreSQL"] == ["1.7 h", "1.7 h"]
    assert found["100,000 rows"] == ["200.0", "1.05 GB", "400 MB"]


def test_constants_are_read_again_and_others_refused(
    parts: SimpleNamespace, constants: object, tmp_path: Path
) -> None:
    file, ledger = tmp_path / "constants.json", tmp_path / "ledger.json"
    file.write_text(json.dumps(asdict(constants)))
    rows = [
        {"service_ms": 100.0, "SQLite": [1.0], "PostgreSQL": [1.0], "row_bytes": {}},
        {
            "service_ms": 0.0,
            "SQLite": [210.0, 190.0, 205.0],
            "PostgreSQL": [300.0],
            "row_bytes": {"SQLite": 4400.0, "PostgreSQL": 5100.0},
        },
    ]
    ledger.write_text(json.dumps(rows))
    saved = tmp_path / "saved.json"
    ended = run(
        parts.growth.main, "--constants", file, "--ledger", ledger, "--save-constants", saved
    )
    assert ended.exit_code == 0, ended.output
    assert parts.growth.read_constants(saved) == replace(
        constants,
        sqlite_rows=205.0,
        postgres_rows=300.0,
        sqlite_row_bytes=4400.0,
        postgres_row_bytes=5100.0,
    )
    assert "205 rows/s" in ended.stdout
    file.write_text('{"scores": 3}')
    refused = run(parts.growth.main, "--constants", file)
    assert refused.exit_code == 2
    assert "scores" in refused.output


def test_the_page_holds_what_its_constants_give(parts: SimpleNamespace, tmp_path: Path) -> None:
    page = FOLDER.parents[1] / "docs" / "growth.md"
    copy = tmp_path / "growth.md"
    text = page.read_text()
    copy.write_text(text.replace(parts.growth.START, f"{parts.growth.START}\nolder tables"))
    ended = run(parts.growth.main, "--constants", FOLDER / "growth.json", "--page", copy)
    assert ended.exit_code == 0, ended.output
    assert copy.read_text() == text
    copy.write_text("no marks")
    refused = run(parts.growth.main, "--constants", FOLDER / "growth.json", "--page", copy)
    assert refused.exit_code == 2
    assert copy.read_text() == "no marks"


class InThisProcess:
    """Instead of a fresh process: calls at once."""

    def __enter__(self) -> "InThisProcess":
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def submit(self, work: object, quick: bool) -> SimpleNamespace:
        found = work(quick)
        return SimpleNamespace(result=lambda: found)


def test_a_stopped_measurement_goes_on(
    parts: SimpleNamespace, constants: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    growth, file, called = parts.growth, tmp_path / "constants.json", []

    def gives(*names: str, fails: bool = False) -> object:
        def work(quick: bool) -> dict[str, float]:
            called.append(names[0])
            if fails:
                raise KeyboardInterrupt
            return {name: getattr(constants, name) for name in names}

        return names[0], work

    fit = ("fit_seconds", "fit_rows", "fit_megabytes")
    works = {
        "query": gives("request_bytes", "answer_bytes"),
        "ledger": gives("sqlite_rows", "sqlite_row_bytes"),
        "scores": gives("scores"),
    }
    monkeypatch.setattr(growth, "fresh_process", InThisProcess)
    monkeypatch.setattr(growth, "MEASUREMENTS", works | {"fit": gives(*fit, fails=True)})
    with pytest.raises(KeyboardInterrupt):
        growth.measured(False, file)
    called.clear()
    monkeypatch.setattr(growth, "MEASUREMENTS", works | {"fit": gives(*fit)})
    found = growth.measured(False, file)
    assert called == ["fit_seconds"]
    assert found.scores == constants.scores and found.fit_rows == constants.fit_rows


def test_a_ledgers_rows_are_weighed(parts: SimpleNamespace, tmp_path: Path) -> None:
    script = parts.ledger_throughput
    assert script.rate(str(tmp_path / "ledger"), 0.0, 50, 4) > 0
    # 1,000 scores of 4 bytes each, and what a row needs besides.
    assert 4000 < script.file_bytes(tmp_path / "ledger") / 50 < 8000


def test_exponents_are_of_the_curve(parts: SimpleNamespace) -> None:
    curves = parts.growth_curves
    points = [
        curves.Point("images", n, 1, 43, 10, None, 3.0, 0.5 * n, 0.002 * n**2, 7.0)
        for n in (10, 1000, 100)
    ]
    assert curves.slope(points, "place") is None
    assert curves.slope(points, "ask") == pytest.approx(0)
    assert curves.slope(points, "fit") == pytest.approx(1)
    assert curves.slope(points, "read") == pytest.approx(2)
    points[1] = replace(points[1], fit=100.0)
    assert curves.last_slope(points, "fit") == pytest.approx(np.log10(2))
    text = curves.table(points)
    assert "| images | place | ask | fit | read | peak of the fit |" in text
    assert text.index("| 10 |") < text.index("| 100 |") < text.index("| 1,000 |")
    figure = curves.draw(points)
    assert [axes.get_xscale() for axes in figure.axes] == ["log", "log"]
    assert {line.get_label() for line in figure.axes[0].lines} == {"ask", "fit", "read", "linear"}


def test_drawn_classes_can_be_learned_and_are_all_there(parts: SimpleNamespace) -> None:
    random = np.random.default_rng(0)
    scores = random.dirichlet(np.ones(6), size=(600, 1)).astype(np.float32)
    labels = parts.growth_curves.drawn_classes(scores, 5)
    assert set(labels) == set(range(5))
    read, seconds = parts.growth_curves.fitted(scores, labels, 5)
    assert np.mean(read().argmax(axis=1) == labels) > 0.75
    assert seconds > 0


@pytest.mark.slow
def test_points_resume(
    parts: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    curves = parts.growth_curves
    monkeypatch.setattr(curves, "QUICK", {"images": (60, 120), "views": (2,)})
    monkeypatch.setattr(curves, "in_fresh_process", curves.measure)
    csv, picture = tmp_path / "points.csv", tmp_path / "curves.png"
    ended = run(curves.main, "--csv", csv, "--plot", picture, "--quick", "--rounds", 1)
    assert ended.exit_code == 0, ended.output
    points = curves.read_rows(csv, curves.Point)
    assert [point.key for point in points] == [("images", 60), ("images", 120), ("views", 2)]
    assert picture.stat().st_size > 1000
    assert all(point.ask > 0 and point.fit > 0 for point in points)
    before = csv.read_text()
    run(curves.main, "--csv", csv, "--quick", "--rounds", 1)
    assert csv.read_text() == before
