"""The command as a process: exit codes, streams, Ctrl-C, and how fast it starts."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from command_runs import Command
from test_help import COMMANDS

import keras_reprogram

COMMAND = (sys.executable, "-c", "from keras_reprogram.command_line import main; main()")
TRAIN = ("train", "--source", "traffic-signs", "--target", "digits", "--no-baseline")


# The package that is tested, also where it is not installed.
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(Path(keras_reprogram.__file__).parent.parent),
    "PYTHONUNBUFFERED": "1",
}


def start(command: list[str], cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=240
    )


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    command = [*COMMAND, *map(str, arguments)]
    return start(command, cwd)


def run_python(code: str, cwd: Path) -> str:
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = start(command, cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


# What a command answers before it has anything to load.
ANSWERED_AT_ONCE = """
--help
--version
{}
nothing
train
{train} --nope
{train} --num-views 0
{train} --output-map x
{train} --value-range 3
{train} --source-size x
{train} --class-weight much
{train} --epochs 1 --query-budget 5
{train} --num-views 2 --placement full
{train} --output file
{train} --name a/b
{train} --json no/where
estimate --source traffic-signs --target digits --json no/where
evaluate nowhere
evaluate file
predict nowhere x
predict run
predict run nowhere
export nowhere
export run --output file
export run --format halves --source x
export run --value-range 0,1
report nowhere
report run --output file
score
score . x
score . x --output file
score . x --output o --format csv
score . x --output o --opaque
score . x --output o --value-range 0,1
score . x --output o --source MobileNetV9
serve
serve . --versions x
serve . --version-label x
serve . --scores logits
inspect run --json no/where
demo --output file
demo --seeds 0
demo --full --json no/where
train --source MobileNetV9 --target digits
train --source file --target digits
train --source nowhere.py:source --target digits
train --source run --target digits
estimate --source MobileNetV9 --target digits
export run --source MobileNetV9
inspect MobileNetV9
serve --source MobileNetV9 run
"""


# Targets are looked up among the data sets, which import NumPy; images are listed by the rules of
# image folders.
ANSWERED_FROM_THE_DATA_SETS = """
train --source traffic-signs --target digit
train --source traffic-signs --target tfds:digit
train --source traffic-signs --target ./nowhere
estimate --source traffic-signs --target digit
evaluate run --target digit
score nowhere x --output o
score run x --output o
score . x --output o --source traffic-signs
"""


def test_help_and_usage_errors_do_not_wait_for_tensorflow(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "program.reprogram").touch()
    facts = {"format": 1, "seed": 0, "target": {"target_shape": [8, 8, 1]}}
    (tmp_path / "run" / "run.json").write_text(json.dumps(facts))
    helps = "\n".join(f"{name} --help" for name in COMMANDS)
    train = "train --source traffic-signs --target digits"
    asked = ANSWERED_AT_ONCE.format(helps, train=train).strip().splitlines()
    targets = ANSWERED_FROM_THE_DATA_SETS.strip().splitlines()
    printed = run_python(
        f"""
        import contextlib, io, json, sys
        from keras_reprogram.command_line import main

        slow = {{"tensorflow", "tensorflow_datasets", "keras", "sklearn", "matplotlib", "numpy"}}
        answers = []
        for line in {asked + targets}:
            out, code = io.StringIO(), 0
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                try:
                    main(line.split())
                except SystemExit as end:
                    code = end.code
            answers.append((line, code, bool(out.getvalue()), sorted(slow & sys.modules.keys())))
        print(json.dumps(answers))
        """,
        tmp_path,
    )
    for line, code, answered, slow in json.loads(printed):
        expected = 0 if line.startswith("-") or "--help" in line else 2
        assert (code, answered) == (expected, True), line
        assert set(slow) <= ({"numpy"} if line in targets else set()), line


@pytest.mark.slow
def test_a_keras_file_with_layers_of_ours_is_a_source(tmp_path: Path) -> None:
    path = Path(__file__).parent.parent / "earlier_files" / "head_coordinates.keras"
    done = run("inspect", path, "--value-range", "0,255", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "4 x 4 x 1" in done.stdout


@pytest.mark.slow
def test_data_and_progress_go_separate_ways(tmp_path: Path) -> None:
    done = run(*TRAIN, "--opaque", "--train-images", 40, "--test-images", 20, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert "map only" in done.stdout
    assert "asking the source" not in done.stdout
    assert "asking the source" in done.stderr
    assert "map only" not in done.stderr
    assert (tmp_path / "runs" / "digits-traffic-signs" / "report.html").is_file()


def test_wrong_input_is_explained_and_a_fault_of_ours_ends_with_1_and_a_traceback(
    tmp_path: Path,
) -> None:
    code = """
    import sys
    from keras_reprogram.command_line import main

    try:
        main(["evaluate", "nowhere"])
    except SystemExit as end:
        assert end.code == 2, end.code
    print("wrong input is over", file=sys.stderr)
    training = sys.modules["keras_reprogram.command_line.train"]
    training.check_source = lambda *arguments: int("a fault")
    main(["train", "--source", "traffic-signs", "--target", "digits"])
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = start(command, tmp_path)
    wrong, fault = done.stderr.split("wrong input is over")

    assert "Error: There is no run folder nowhere." in wrong
    assert "Traceback" not in wrong
    assert done.returncode == 1
    assert "Traceback" in fault
    assert "a fault" in fault
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def interrupted(arguments: tuple, awaited: str, cwd: Path) -> tuple[int, str]:
    """Sends Ctrl-C when the command has said `awaited`."""
    log = cwd / "log.txt"
    with log.open("w") as err:
        process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            cwd=cwd,
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=err,
            # Shells start jobs in the background with Ctrl-C ignored, which children inherit.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        deadline = time.monotonic() + 120
        while awaited not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        code = process.wait(timeout=120)
    text = log.read_text()
    log.unlink()
    return code, text


@pytest.mark.slow
def test_ctrl_c_during_training_keeps_the_map(command: Command, tmp_path: Path) -> None:
    arguments = (*TRAIN, "--train-images", 40, "--test-images", 20, "--epochs", 100_000)
    code, err = interrupted(arguments, "epoch 1/100000: asking for the map", tmp_path)

    folder = tmp_path / "runs" / "digits-traffic-signs"
    assert code == 130, err
    assert "Traceback" not in err
    assert "Stopped. runs/digits-traffic-signs keeps the program" in err
    assert sorted(path.name for path in folder.iterdir()) == ["program.reprogram", "run.json"]

    assert "training was stopped" in command("inspect", folder).out
    measured = command("evaluate", folder)
    assert measured.code == 0, measured.err


@pytest.mark.slow
def test_ctrl_c_before_anything_was_learned(tmp_path: Path) -> None:
    # 32 views of all images take long enough to be stopped before the map is fitted.
    arguments = (*TRAIN, "--opaque", "--num-views", 32, "--output", "out")
    code, err = interrupted(arguments, "scikit-learn", tmp_path)

    assert code == 130, err
    assert "Traceback" not in err
    assert err.rstrip().endswith("Stopped. Nothing was kept.")
    assert list(tmp_path.iterdir()) == []
