"""What TensorFlow says when it starts is held back in commands, and nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import keras_reprogram
from keras_reprogram import is_command
from keras_reprogram.command_line.noise_filter import is_noise

PACKAGE = Path(keras_reprogram.__file__).parent

NOISE = (
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1795962644.640704    1558 port.cc:153] oneDNN custom operations are on.",
    "W0000 00:00:1795962644.640704 123 gpu_device.cc:2342] Cannot dlopen some GPU libraries.",
    "2026-11-29 14:00:00.123456: I tensorflow/core/util/port.cc:153] oneDNN custom operations",
    "2026-11-29 14:00:00.123456: W tensorflow/core/x.cc:1] a warning",
    "E0000 00:00:1795962659.988070    1558 cuda_platform.cc:52] failed call to cuInit: INTERNAL",
    "2026-11-29 14:00:00.1: E external/xla/cuda_fft.cc:467] Unable to register cuFFT factory",
    "To enable the following instructions: AVX2 AVX512F, in other operations, rebuild",
    "INFO: Created TensorFlow Lite XNNPACK delegate for CPU.",
)
SAID = (
    "E0000 00:00:1795962659.988070    1558 cuda_driver.cc:52] out of memory",
    "2026-11-29 14:00:00.123456: F tensorflow/core/platform/env.cc:1] Check failed: ret == 0",
    "F0000 00:00:1795962659.988070    1558 env.cc:52] Check failed: ret == 0",
    "Error: There is no image a.png.",
    "Note: I looked 3 times.",
    "*** SIGSEGV received at time=1795962659 on cpu 1 ***",
    "",
)


def test_errors_are_told_from_noise() -> None:
    assert [line for line in NOISE if not is_noise(line.encode())] == []
    assert [line for line in SAID if is_noise(line.encode())] == []


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        (True, ["python", "/bin/keras-reprogram", "train"]),
        (True, ["python", "-X", "dev", "-u", "C:/bin/keras-reprogram-script.pyw"]),
        (True, ["python.exe", "-m", "keras_reprogram.command_line", "train"]),
        (True, ["python", "-c", "from keras_reprogram.command_line import main; main()"]),
        (False, ["python", "-c", "import keras_reprogram", "keras-reprogram"]),
        (False, ["python", "-m", "pytest", "keras-reprogram"]),
        (False, ["python", "train.py", "-m", "keras_reprogram"]),
        (False, ["python"]),
        (False, ["python", "-i"]),
    ],
)
def test_only_commands_are_held_back(expected: bool, words: list[str]) -> None:
    assert is_command(words) is expected


def end_of(code: str) -> subprocess.CompletedProcess:
    """Runs code behind the filter, in a process that imports nothing else."""
    start = f"""
import os, sys, runpy
held = runpy.run_path({str(PACKAGE / "command_line" / "startup_noise.py")!r})
held["hold_back_noise"]()
said, noise = {SAID!r}, {NOISE!r}
"""
    command = [sys.executable, "-c", start + code]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_what_is_no_noise_comes_through_in_its_order() -> None:
    done = end_of(
        "for line in (*said, *noise, *said): os.write(2, (line + '\\n').encode())\n"
        "os.write(2, b'no end')"
    )
    assert (done.returncode, done.stderr) == (0, 2 * "".join(f"{s}\n" for s in SAID) + "no end")


def test_pythons_own_messages_go_directly() -> None:
    done = end_of("print(noise[1], file=sys.stderr); assert not sys.stderr.isatty(); 1 / 0")
    assert done.returncode == 1
    assert done.stderr.startswith(NOISE[1])
    assert "ZeroDivisionError" in done.stderr


def test_the_last_words_of_a_process_that_is_killed_come_through() -> None:
    done = end_of("[os.write(2, (s + '\\n').encode()) for s in (*noise, said[2])]; os.abort()")
    assert done.returncode < 0
    assert done.stderr == f"{SAID[2]}\n"


def test_a_command_without_stderr_runs() -> None:
    assert end_of("os.close(2); sys.stderr = None; held['hold_back_noise']()").returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("level", [None, "2"])
def test_quiet_commands_say_nothing(tmp_path: Path, level: str | None) -> None:
    environment = dict(os.environ, PYTHONPATH=str(PACKAGE.parent))
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    if level is not None:
        environment["TF_CPP_MIN_LOG_LEVEL"] = level
    command = (sys.executable, "-c", "from keras_reprogram.command_line import main; main()")
    train = ("train", "--source", "traffic-signs", "--target", "digits", "--opaque")
    train += ("--train-images", "40", "--test-images", "20", "--no-baseline", "--output", "runs")
    export = ("export", "runs/digits-traffic-signs", "--source", "traffic-signs")
    for arguments in ((*train, "--quiet"), (*export, "--output", "model", "--quiet")):
        done = subprocess.run(
            [*command, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert (done.returncode, done.stderr) == (0, "")
