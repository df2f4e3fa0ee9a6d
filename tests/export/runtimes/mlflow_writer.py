"""Stores a program as an MLflow model: the program file, and the code that makes its source."""

import sys

import runtime_sources

from keras_reprogram import load_program
from keras_reprogram.mlflow import save_model

program_file, source, folder = sys.argv[1:]
model = load_program(program_file, getattr(runtime_sources, source)())
module = runtime_sources.__file__
save_model(model, folder, source=f"runtime_sources:{source}", code_paths=[module])
