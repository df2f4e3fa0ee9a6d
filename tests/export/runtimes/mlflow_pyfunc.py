"""MLflow's pyfunc: a program file and its source, which the model itself finds again."""

import sys

import mlflow
import numpy as np
from timed import write_answers

folder, images_file, answers_file = sys.argv[1:]
model = mlflow.pyfunc.load_model(folder)
write_answers(answers_file, np.load(images_file), lambda image: model.predict(image[None])[0])
