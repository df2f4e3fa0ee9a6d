"""Copies stdin to stdout without TensorFlow's startup messages; a separate process.

`command_noise` starts it. It imports nothing of this package, and lives on when the command is
killed: what TensorFlow says last is what matters most.
"""

import os
import re
import signal
import sys

# Messages that C++ libraries print about themselves: information, warnings, and the errors that
# every machine without a GPU prints. All other errors and fatal messages pass.
_NOISE = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog\(\)"
    rb"|[IW]\d{4} \d\d:\d\d:\d+\.\d+ +\d+ \S+:\d+\] "
    rb"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IW] "
    rb"|(E\d{4} |\d{4}-\d\d-\d\d ).*"
    rb"(failed call to cuInit|Unable to register cu(FFT|DNN|BLAS) factory)"
    rb"|To enable the following instructions: "
    rb"|(INFO|WARNING): (Created TensorFlow Lite|Applying \d+ TensorFlow Lite|Attempting to use)"
)


def is_noise(line: bytes) -> bool:
    """Whether a line is startup noise of a library."""
    return _NOISE.match(line) is not None


def _copy(source: int, target: int) -> None:
    rest = b""
    while content := os.read(source, 65536):
        *lines, rest = (rest + content).split(b"\n")
        kept = b"".join(line + b"\n" for line in lines if not is_noise(line))
        _write(target, kept)
    _write(target, b"" if is_noise(rest) else rest)


def _write(target: int, content: bytes) -> None:
    while content:
        content = content[os.write(target, content) :]


if __name__ == "__main__":
    # Ctrl-C ends the command, which ends this.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _copy(sys.stdin.fileno(), sys.stdout.fileno())
