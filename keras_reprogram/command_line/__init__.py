"""The command line, `keras-reprogram`."""

import os
import sys

from keras_reprogram import is_command
from keras_reprogram.command_line.app import main
from keras_reprogram.command_line.startup_noise import hold_back_noise

__all__ = ["main"]

# The imports above do not import TensorFlow, which would print before the filter is in place.
if is_command(sys.orig_argv) and os.environ.get("TF_CPP_MIN_LOG_LEVEL") != "0":
    hold_back_noise()
