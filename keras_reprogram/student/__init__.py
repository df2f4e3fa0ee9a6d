"""A local model that learns from answers of a paid source, and asks nothing afterwards."""

from keras_reprogram.student.fit_student import fit_student
from keras_reprogram.student.result import Student

__all__ = ["fit_student", "Student"]
