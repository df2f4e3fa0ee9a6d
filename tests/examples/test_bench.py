"""`make bench`: what runs, what is skipped and why, and the joint summary."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import typer
from typer.testing import CliRunner, Result

FOLDER = Path(__file__).parents[2] / "examples" / "benchmark"

FAKE = """
import json, sys
from pathlib import Path
file = Path(sys.argv[sys.argv.index("--json") + 1])
file.write_text(json.dumps(sys.argv[1:-2]))
print("| table of", " ".join(sys.argv[1:-2]), "|")
print("a bar", file=sys.stderr)
"""


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    """The script, with three made benchmarks; each `ok` leaves its figures and a table."""
    monkeypatch.syspath_prepend(FOLDER)
    module = importlib.import_module("bench")
    for name, text in {
        "ok": FAKE,
        "needy": FAKE,
        "broken": "raise SystemExit('no such file')",
        "beside_pytorch": FAKE,
    }.items():
        (tmp_path / f"{name}.py").write_text(text)
    made = {
        "ok": module.Benchmark("A made one", 1, options=("$PLACE", "--full"), quick=("--short",)),
        "needy": module.Benchmark(
            "One that lacks things",
            1,
            packages={"no_such_module": "'no-such-package'"},
            variables={"NO_SUCH_FOLDER": "a folder"},
        ),
        "broken": module.Benchmark("One that fails", 1),
        "not_written": module.Benchmark("One whose script is not there", 1),
    }
    monkeypatch.setattr(module, "BENCHMARKS", made)
    monkeypatch.setattr(module, "HERE", tmp_path)
    monkeypatch.setenv("PLACE", "secret-place")
    monkeypatch.delenv("NO_SUCH_FOLDER", raising=False)
    yield module
    for name in ("bench", "rounds"):
        sys.modules.pop(name, None)


def run(bench: ModuleType, *arguments: object) -> Result:
    app = typer.Typer()
    app.command()(bench.main)
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_a_table_of_all_and_reasons_of_the_rest(bench: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "bench"
    ended = run(bench, "--folder", out)
    assert ended.exit_code == 1
    assert (out / "ok.json").read_text() == '["secret-place", "--full"]'
    assert (out / "ok.md").read_text() == "| table of secret-place --full |\n"
    summary = (out / "summary.md").read_text()
    assert summary.strip() == ended.stdout.strip()
    assert "## A made one\n\n`python examples/benchmark/ok.py $PLACE --full`" in summary
    assert "| table of secret-place --full |" in summary
    assert (
        "- needy: skipped, it needs `pip install 'no-such-package'` and `NO_SUCH_FOLDER` (a folder)"
        in summary
    )
    assert "- broken: failed" in summary
    assert "not_written" not in summary
    assert sorted(file.name for file in out.iterdir()) == ["ok.json", "ok.md", "summary.md"]
    assert "[1/3] ok: A made one; about 1 min" in ended.stderr
    assert "[2/3] needy: skipped" in ended.stderr
    assert "[3/3] broken: failed in 0 min" in ended.stderr


def test_what_was_measured_is_kept_unless_asked_again(bench: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "bench"
    assert run(bench, "--folder", out, "--only", "ok", "--quick").exit_code == 0
    assert (out / "ok_quick.json").read_text() == '["secret-place", "--full", "--short"]'
    assert "A made one (shortened)" in (out / "summary.md").read_text()
    (out / "ok_quick.md").write_text("an earlier table\n")
    kept = run(bench, "--folder", out, "--only", "ok", "--quick")
    assert "there already" in kept.stderr and "an earlier table" in kept.stdout
    again = run(bench, "--folder", out, "--only", "ok", "--quick", "--again")
    assert "an earlier table" not in again.stdout
    # A whole run comes before a shortened one.
    run(bench, "--folder", out, "--only", "ok")
    assert "shortened" not in (out / "summary.md").read_text()


def test_unknown_names_are_refused(bench: ModuleType, tmp_path: Path) -> None:
    ended = run(bench, "--folder", tmp_path / "bench", "--only", "not_written")
    assert ended.exit_code == 2
    assert "not_written" in ended.stderr
    assert not (tmp_path / "bench").exists()


def test_every_benchmark_of_the_repository_writes_its_figures() -> None:
    sys.path.insert(0, str(FOLDER))
    try:
        benchmarks = importlib.import_module("bench").BENCHMARKS
    finally:
        sys.path.remove(str(FOLDER))
        for name in ("bench", "rounds"):
            sys.modules.pop(name, None)
    there = {name for name in benchmarks if (FOLDER / f"{name}.py").exists()}
    assert {"exact_fit", "litert_threads", "beside_pytorch", "ledger_throughput"} <= there
    for name in there:
        assert '"--json"' in (FOLDER / f"{name}.py").read_text(), name
