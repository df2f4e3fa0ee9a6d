"""The code that runs the papers' tables again, on digits through the embedded source."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer
from sklearn.model_selection import StratifiedKFold
from typer.testing import CliRunner

from keras_reprogram.datasets import load_target

# It runs rows of the papers, if small ones.
pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[2] / "examples" / "reproduce"
TABLES = tuple(sorted(p.stem for p in (FOLDER / "configs").glob("*.toml") if p.stem != "sources"))
NAMES = ("reproduction", "table_config", "row_config", "row_run", "row_sources", "row_methods")
NAMES += (
    "reproduced_rows",
    "results_page",
    "program_training",
    "stored_answers",
    "csv_rows",
    "asd_rows",
)


@pytest.fixture(scope="module")
def parts() -> Iterator[SimpleNamespace]:
    before = set(sys.modules)
    path = list(sys.path)
    sys.path.insert(0, str(FOLDER))
    yield SimpleNamespace(**{name: __import__(name) for name in NAMES})
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(FOLDER.parent)):
            del sys.modules[name]


def run_table(parts: SimpleNamespace, name: str, *arguments: Any) -> Any:
    app = typer.Typer()
    app.command()(parts.reproduction.main)
    return CliRunner().invoke(app, [str(argument) for argument in arguments], obj=name)


# === Configurations ===


@pytest.mark.parametrize("name", TABLES)
def test_a_configuration_names_what_there_is(parts: SimpleNamespace, name: str) -> None:
    script = (FOLDER / f"{name}.py").read_text()
    assert f'reproduce("{name}")' in script
    config = parts.table_config.read_table(name)
    here, paper = config.rows["here"], config.rows["paper"]
    assert here and paper and config.remarks
    assert [row.name for row in config.rows["tiny"]] == [row.name for row in here]
    for row in (*here, *paper):
        assert bool(row.published) == bool(row.published_in), row.name
        assert row.published_with or not row.published, row.name
    for row in (*here, *paper):
        # A figure of ours beside one of the paper's says what lies between them.
        assert row.differences or not row.published, row.name
    for row in config.rows["tiny"]:
        assert row.target == "digits"
        assert row.source in ("none", "traffic_signs")
        assert row.epochs == 1


def test_an_exact_map_reads_the_program_of_another_row(parts: SimpleNamespace) -> None:
    trains = ("target", "source", "options", "learning_rates", "epochs", "batch_size", "classes")
    trains += ("train_images", "test_images")
    for name in TABLES:
        rows = parts.table_config.read_table(name).rows["here"]
        for row in rows:
            if row.method == "program_then_exact_map":
                settings = [getattr(row, key) for key in trains]
                assert any(
                    other.method == row.program
                    and [getattr(other, key) for key in trains] == settings
                    for other in rows
                ), row.name


ROW = 'name = "a"\ntitle = "A"\nmethod = "no_source"\ntarget = "digits"\n'
HEAD = 'title = "T"\npaper = "P"\nremarks = []\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = ", "to be TOML"),
        ('title = "T"\n[[rows]]\n' + ROW, "'paper' is one too many or missing"),
        (HEAD + "[[rows]]\n" + ROW, "row 'a' of .* to have a table `here` or `paper`"),
        (HEAD + "[[rows]]\n" + ROW + "epoch = 3\n[rows.here]\n", "Received: the key 'epoch'"),
        (HEAD + '[[rows]]\nname = "a"\n[rows.here]\n', "Received: no key 'title'"),
        (HEAD + "[[rows]]\n" + ROW + 'epochs = "3"\n[rows.here]\n', "'epochs' .* int.*'3'"),
        (HEAD + "[[rows]]\n" + ROW + "views = [1, 2.5]\n[rows.here]\n", "'views' .* int.*2.5"),
        (HEAD + "[[rows]]\n" + ROW + "epochs = true\n[rows.here]\n", "'epochs' .* int.*True"),
        (HEAD + "[[rows]]\n" + ROW + "balanced = 1\n[rows.here]\n", "'balanced' .* bool.*1"),
        (HEAD + "[[rows]]\n" + ROW + '[rows.here]\nmethod = "ar"\n', "'method' .*elsayed_2019.*ar"),
        (HEAD + "[[rows]]\n" + ROW + '[rows.here]\nsource = "x"\n', "'source' .*mobilenet.*'x'"),
        (
            HEAD + "[[rows]]\n" + ROW + '[rows.here]\nmethod = "map_only"\noptions = { a = 1 }\n',
            "'options' .*class_balanced.*'a'",
        ),
        (
            HEAD + "[[rows]]\n" + ROW + '[rows.here]\nmethod = "new_head"\noptions = { a = 1 }\n',
            "'options' .* left out.*'a'",
        ),
        (HEAD + "[[rows]]\n" + ROW + '[rows.here]\nreadings = ["x"]\n', "'readings' .*mean.*'x'"),
        (HEAD + 2 * ("[[rows]]\n" + ROW + "[rows.here]\n"), "names of their own.*'a'"),
    ],
)
def test_a_broken_configuration_says_which_key(
    parts: SimpleNamespace, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "broken.toml").write_text(text)
    with pytest.raises(ValueError, match=message):
        parts.table_config.read_table("broken", tmp_path)


def test_a_table_that_there_is_not_names_those_there_are(parts: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match="bar_2020, elsayed_2019.*Received: 'bar'"):
        parts.table_config.read_table("bar")


# === Runs ===


@pytest.fixture(scope="module")
def first_run(parts: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Four rows of a table, run once: folder and result."""
    folder = tmp_path_factory.mktemp("reproduced")
    names = "mnist_mobilenet_025,mnist_mobilenet_025_exact_map,mnist_best_recipe,mnist_no_source"
    arguments = ("--form", "tiny", "--seeds", "0", "--cache", folder, "--rows", names)
    result = run_table(parts, "elsayed_2019", *arguments)
    assert result.exit_code == 0, result.output
    return SimpleNamespace(folder=folder, arguments=arguments, result=result)


def read(parts: SimpleNamespace, path: Path) -> dict[str, Any]:
    rows = parts.csv_rows.read_rows(path, parts.reproduced_rows.ReproducedRow)
    return {row.row: row for row in rows}


@pytest.mark.slow
def test_runs_become_rows_and_a_page(parts: SimpleNamespace, first_run: Any) -> None:
    path = first_run.folder / "tiny" / "elsayed_2019.csv"
    rows = read(parts, path)
    assert len(rows) == 4
    for row in rows.values():
        assert (row.form, row.target, row.seed, row.n_train, row.n_test) == (
            "tiny",
            "digits",
            0,
            60,
            30,
        )
        assert 0 <= row.test_accuracy <= 1
        assert row.validation_accuracy is not None
    program, exact = rows["mnist_mobilenet_025"], rows["mnist_mobilenet_025_exact_map"]
    assert program.resolution == "8x8 on 32x32"
    assert program.choices == "rate=0.05;epoch=1"
    assert exact.choices.startswith("rate=0.05;epoch=1;C=")
    assert exact.test_accuracy > program.test_accuracy + 0.2
    assert rows["mnist_best_recipe"].resolution == "32x32"
    assert rows["mnist_best_recipe"].test_accuracy > 0.6
    # Both rows read one program.
    assert len(list((first_run.folder / "programs").glob("*.npz"))) == 1
    page = path.with_suffix(".md").read_text()
    assert page in first_run.result.output
    line = next(line for line in page.splitlines() if line.startswith("| MNIST, AR |"))
    shown = f"{program.test_accuracy:.3f}".replace("0.", ".")
    assert (
        f"| >= .90 on six networks (Kloberdanz 2020, ch. 2.2) | {shown} (1) | six ImageNet networks"
        in line
    )
    assert "traffic signs, 32 px; 60 + 30 images, 8x8 on 32x32 px, 1 epochs, rate .05" in line


def test_what_is_there_is_neither_run_nor_asked_again(
    parts: SimpleNamespace, first_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = first_run.folder / "tiny" / "elsayed_2019.csv"
    before = path.read_text()

    def never(*arguments: Any) -> Any:
        raise AssertionError(arguments)

    with monkeypatch.context() as patch:
        patch.setattr(parts.reproduction, "execute", never)
        assert run_table(parts, "elsayed_2019", *first_run.arguments).exit_code == 0
    assert path.read_text() == before
    # Rows that are gone come back from kept answers and programs.
    lines = before.splitlines(keepends=True)
    path.write_text("".join(line for line in lines if "traffic_signs" not in line))
    monkeypatch.setattr(parts.stored_answers.StoredAnswers, "_ask", never)
    monkeypatch.setattr(parts.program_training, "_train", never)
    result = run_table(parts, "elsayed_2019", *first_run.arguments)
    assert result.exit_code == 0, result.output
    again = read(parts, path)
    (first_run.folder / "first.csv").write_text(before)
    for name, row in read(parts, first_run.folder / "first.csv").items():
        assert replace(again[name], seconds=None) == replace(row, seconds=None)


def test_interrupting_keeps_rows_and_names_are_checked(
    parts: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = ("--form", "tiny", "--cache", tmp_path, "--seeds", "0,1", "--rows", "mnist_no_source")
    execute = parts.reproduction.execute

    def interrupted(run: Any) -> Any:
        if run.seed == 1:
            raise KeyboardInterrupt
        return execute(run)

    monkeypatch.setattr(parts.reproduction, "execute", interrupted)
    assert run_table(parts, "elsayed_2019", *small).exit_code == 130
    kept = (tmp_path / "tiny" / "elsayed_2019.csv").read_text()
    assert kept.count("\n") == 2
    wrong = run_table(parts, "elsayed_2019", "--rows", "mnist_ar").output
    assert "Expected squares_mobilenet_025" in " ".join(wrong.replace("│", "").split())
    assert "Expected here, paper" in run_table(parts, "bar_2020", "--form", "there").output


def test_missing_data_and_weights_say_how_to_get_them(
    parts: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_data(name: str, image_size: Any) -> Any:
        raise ValueError(f"Expected {name}.zip in the folder that KERAS_REPROGRAM_DATA names.")

    def no_weights(*arguments: Any, **options: Any) -> Any:
        raise Exception("URL fetch failure")  # what Keras raises

    small = ("--cache", tmp_path, "--seeds", "0", "--csv", tmp_path / "a.csv", "--rows")
    with monkeypatch.context() as patch:
        patch.setattr(parts.row_run, "load_target", no_data)
        parts.row_run._drawn.cache_clear()
        parts.row_run._loaded.cache_clear()
        result = run_table(parts, "bar_2020", *small, "ham10000_no_source")
    assert result.exit_code == 1
    assert "folder that KERAS_REPROGRAM_DATA names" in result.output
    parts.row_sources.build_source.cache_clear()
    monkeypatch.setattr(parts.row_sources.FrozenSource, "from_application", no_weights)
    with pytest.raises(ValueError, match="weights of MobileNet.*URL fetch failure.*KERAS_HOME"):
        parts.row_sources.build_source("mobilenet_025_128")
    parts.row_sources.build_source.cache_clear()


def test_a_fold_is_that_of_the_benchmark(parts: SimpleNamespace, tmp_path: Path) -> None:
    digits = load_target("digits")
    images = np.concatenate([digits.train_images, digits.test_images])
    labels = np.concatenate([digits.train_labels, digits.test_labels])
    splits = StratifiedKFold(10, shuffle=True, random_state=0).split(images, labels)
    for fold, (train, test) in enumerate(splits):
        data = parts.row_run.fold_of(digits, 10, fold)
        np.testing.assert_array_equal(data.train_images, images[train])
        np.testing.assert_array_equal(data.test_images, images[test])
        np.testing.assert_array_equal(data.test_labels, labels[test])
    source = (FOLDER.parent / "benchmark" / "asd_cross_validation.py").read_text()
    assert "StratifiedKFold(folds, shuffle=True, random_state=seed)" in source
    arguments = ("--form", "tiny", "--cache", tmp_path, "--rows", "asd_new_head")
    result = run_table(parts, "bar_2020", *arguments)
    assert result.exit_code == 0, result.output
    rows = parts.csv_rows.read_rows(
        tmp_path / "tiny" / "bar_2020.csv", parts.reproduced_rows.ReproducedRow
    )
    assert [(row.seed, row.fold) for row in rows] == [(0, 0), (0, 1)]


def test_some_classes_of_a_target(parts: SimpleNamespace) -> None:
    rows = parts.table_config.read_table("kloberdanz_2020_table_3_1").rows["tiny"]
    row = next(row for row in rows if row.name == "zeros_ones_map_only")
    data = parts.row_run.Run(row, "tiny", 0, 0, Path()).data
    assert data.class_names == ("0", "1")
    assert np.unique(data.train_labels).tolist() == np.unique(data.test_labels).tolist() == [0, 1]


def test_the_best_epoch_is_kept(parts: SimpleNamespace) -> None:
    import keras

    program, output_map = keras.layers.Dense(1), keras.layers.Dense(1)
    for layer in (program, output_map):
        layer.build((None, 1))
    model = SimpleNamespace(program=program, output_map=output_map)
    best = parts.program_training.KeepBest(SimpleNamespace(model=model))
    reached = [(0.5, 1.0), (0.7, 0.9), (0.7, 0.8), (0.6, 0.1), (0.7, 0.85)]
    for epoch, (accuracy, loss) in enumerate(reached):
        program.bias.assign([float(epoch)])
        output_map.bias.assign([10.0 + epoch])
        best.on_epoch_end(epoch, {"val_accuracy": accuracy, "val_loss": loss})
    best.restore()
    assert (best.epoch, best.best) == (3, (0.7, -0.8))
    assert (float(program.bias[0]), float(output_map.bias[0])) == (2.0, 12.0)


def test_joined_sources_are_asked_as_one(
    parts: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = parts.row_sources
    names = ["traffic_signs", "traffic_signs"]
    configured = sources._configured() | {"two": {"title": "two", "joined": names}}
    monkeypatch.setattr(sources, "_configured", lambda: configured)
    joined, single = sources.build_source("two"), sources.build_source("traffic_signs")
    sources.build_source.cache_clear()
    images = np.random.default_rng(0).uniform(*single.value_range, (3, *single.source_shape))
    twice = np.asarray(joined(images))
    np.testing.assert_allclose(twice[:, 43:], twice[:, :43], atol=1e-6)
    np.testing.assert_allclose(2 * twice[:, :43], np.asarray(single(images)), atol=1e-6)


def test_answers_are_asked_once_an_image(
    parts: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def ask(self: Any, images: np.ndarray) -> np.ndarray:
        asked.append(len(images))
        return images.reshape(len(images), -1)[:, :2].astype(np.float32)

    monkeypatch.setattr(parts.stored_answers.StoredAnswers, "_ask", ask)
    data = load_target("digits").draw(40, None, seed=0)
    source = parts.row_sources.build_source("traffic_signs")
    placement = parts.row_methods.draw_views(data.target_shape, source.source_shape, 2, 0)
    answer = parts.stored_answers.view_answers(source, placement, data, tmp_path)
    images = np.arange(6, dtype=np.uint8).repeat(64).reshape(6, 8, 8, 1)
    for rows in ([0, 1, 1, 2], [2, 3, 0], [5, 4, 3, 2]):
        answers = answer(images[rows])
        assert answers.shape == (len(rows), 2, 2)
        assert (answers[:, 0, 0] == rows).all()
    # Two views each time.
    assert asked == [3, 3, 1, 1, 2, 2]
    assert len(list(tmp_path.iterdir())) == 2


def test_classes_that_weigh_alike_find_more_of_the_rare_one(parts: SimpleNamespace) -> None:
    random = np.random.default_rng(0)
    labels = (random.random(300) < 0.1).astype(int)
    logits = random.normal(size=(300, 1, 6))
    logits[:, 0, 0] += 1.2 * labels
    answers = (np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)).astype(np.float32)
    found = []
    for options in ({}, {"class_balanced": True}):
        run = SimpleNamespace(
            row=SimpleNamespace(options=options),
            source=lambda: SimpleNamespace(score_kind="probabilities", score_step=0.0),
            data=SimpleNamespace(train_labels=labels, train_groups=None),
            num_classes=2,
            seed=0,
        )
        _, output_map = parts.row_methods._fitted_map(run, answers, "first view")
        predicted = np.asarray(output_map(answers)).argmax(axis=1)
        found.append(int(predicted[labels == 1].sum()))
    assert found[1] > 2 * found[0]


# === The page ===


def made_row(parts: SimpleNamespace, table: str, name: str, seed: int, **figures: Any) -> Any:
    lines = parts.table_config.read_table(table).rows["here"]
    (line,) = (line for line in lines if line.name == name)
    what = (name, "here", line.target, line.source, line.method)
    return parts.reproduced_rows.ReproducedRow(
        *what, seed, 0, 8000, 2000, resolution="28x28", **figures
    )


def test_the_page_of_a_hand_made_file(parts: SimpleNamespace, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    for seed, accuracy in enumerate((0.90, 0.92, 0.97)):
        figures = {"test_accuracy": accuracy, "balanced_accuracy": 0.5, "epochs": 10}
        row = made_row(parts, "bar_2020", "ham10000_ar", seed, **figures)
        parts.csv_rows.append_row(path, row)
    result = run_table(parts, "bar_2020", "--table", "--csv", path)
    assert path.with_suffix(".md").read_text() == result.stdout[:-1]
    here, paper = (
        {line.split(" | ")[0]: line for line in half.splitlines()}
        for half in result.stdout.split("## With sources and data as near")
    )
    line = here["| skin lesions, AR (white box)"]
    # The standard deviation of a sample, (n - 1).
    assert "| .8205 (ResNet50) | .930 ± .036, balanced .500 ± .000 (3) |" in line
    assert "MobileNet .25, 128 px; 8,000 + 2,000 images, 28x28 px, 10 epochs" in line
    assert " | not run here | " in here["| skin lesions, no source"]
    # Rows that the benchmark has.
    stored = [
        row.accuracy
        for row in parts.asd_rows.read_rows(
            FOLDER.parent / "benchmark" / "asd_cross_validation.csv"
        )
        if row.key[:2] == ("mobilenet_025_128", "ours")
    ]
    shown = f"{np.mean(stored):.3f} ± {np.std(stored, ddof=1):.3f} ({len(stored)})".replace(
        "0.", "."
    )
    assert f" | {shown} | " in here["| autism, best recipe: exact map on views"]
    assert " | not run here | " in paper["| retinopathy, AR, ResNet50"]
    assert "nan" not in result.stdout


def test_training_accuracy_stands_before(parts: SimpleNamespace) -> None:
    table = "kloberdanz_2020_table_3_1"
    config = parts.table_config.read_table(table)
    rows = [
        made_row(parts, table, "mnist_elsayed", seed, train_accuracy=a, test_accuracy=b)
        for seed, (a, b) in enumerate(((0.1, 0.2), (0.3, 0.2)))
    ]
    page = parts.results_page.results_page(config, rows)
    assert "| .0903 / .0892 (table 3.1) | .200 ± .141 / .200 ± .000 (2) |" in page


def test_results_of_another_source_are_not_shown(parts: SimpleNamespace, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    row = made_row(parts, "bar_2020", "ham10000_ar", 0, test_accuracy=0.9)
    parts.csv_rows.append_row(path, replace(row, source="resnet50"))
    result = run_table(parts, "bar_2020", "--table", "--csv", path)
    assert result.exit_code == 2
    said = " ".join(result.stderr.replace("│", " ").split())
    assert "Received: ham10000 / resnet50 / bar_2020_white_box. Delete" in said
    assert not path.with_suffix(".md").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epochs": 200}, "200 epochs"),
        ({"resolution": "32x32 on 128x128"}, "32x32 px"),
        ({"choices": "rate=0.5;epoch=3"}, "a rate of 0.5"),
    ],
)
def test_results_of_a_changed_line_are_not_shown(
    parts: SimpleNamespace, changes: dict[str, Any], said: str
) -> None:
    config = parts.table_config.read_table("bar_2020")
    own = {"epochs": 10, "test_accuracy": 0.9, "choices": "rate=0.01;epoch=3"}
    row = made_row(parts, "bar_2020", "ham10000_ar", 0, **own)
    row = replace(row, resolution="64x64 on 128x128")
    assert "64x64 on 128x128 px, 10 epochs, rate .01" in parts.results_page.results_page(
        config, [row]
    )
    with pytest.raises(ValueError, match=f"Received: .*{said}.* Delete the line's results"):
        parts.results_page.results_page(config, [replace(row, **changes)])


def test_a_program_of_another_split_or_recipe_is_another(
    parts: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = (r for r in parts.table_config.read_table("bar_2020").rows["tiny"][:1])
    prints = []
    for changes in ({}, {"learning_rates": (0.5,)}, {"options": {"gamma": 1.0}}):
        run = parts.row_run.Run(replace(row, **changes), "tiny", 0, 0, tmp_path)
        prints.append(parts.program_training._fingerprint(run))
    assert (
        parts.program_training._fingerprint(parts.row_run.Run(row, "tiny", 0, 0, tmp_path))
        == (prints[0])
    )
    train, held_out = run.parts
    monkeypatch.setattr(parts.row_run.Run, "parts", (train[1:], held_out))
    run = parts.row_run.Run(row, "tiny", 0, 0, tmp_path)
    prints.append(parts.program_training._fingerprint(run))
    assert len(set(prints)) == len(prints)


# === With real weights ===

REAL = {
    "elsayed_2019": "mnist_mobilenet_v2,mnist_mobilenet_v2_exact_map,mnist_best_recipe",
    "bar_2020": "ham10000_ar,asd_new_head",
    "kloberdanz_2020_table_3_1": "mnist_learned_map,zeros_ones_ilm_vp,mnist_map_only",
    "kloberdanz_2020_table_5_1": "ham10000_mobilenet_025_128,ham10000_scratch",
    "ilm_vp_2023": "gtsrb_ilm_vp,cifar10_fine_tuned",
    "smm_2024": "cifar10_smm,cifar10_map_only",
    "lor_vp_2025": "gtsrb_lor_vp,gtsrb_lor_vp_ilm",
}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", TABLES)
def test_a_cut_of_each_table(
    parts: SimpleNamespace, name: str, tmp_path: Path, keras_home: Path, reprogram_data: Path
) -> None:
    command = [sys.executable, str(FOLDER / f"{name}.py"), "--form", "cut", "--seeds", "0"]
    command += ["--cache", str(tmp_path), "--rows", REAL[name]]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("# ")
    rows = read(parts, tmp_path / "cut" / f"{name}.csv")
    assert set(rows) == set(REAL[name].split(","))
    assert all(0 <= row.test_accuracy <= 1 for row in rows.values())
