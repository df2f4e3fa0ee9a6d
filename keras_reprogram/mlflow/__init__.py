"""MLflow (extra `mlflow`): programs as models of its tracking server and registry."""

from keras_reprogram.mlflow.program_flavour import load_model, load_pyfunc, log_model, save_model

__all__ = ["load_model", "log_model", "save_model"]

# MLflow looks for it under this name, in the module that a model's files say.
_load_pyfunc = load_pyfunc
