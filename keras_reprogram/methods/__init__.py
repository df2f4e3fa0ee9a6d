"""Published methods by their names: configurations of program, output map and training."""

from keras_reprogram.methods.autovp_2024 import autovp_2024
from keras_reprogram.methods.bahng_2022 import bahng_2022
from keras_reprogram.methods.bar_2020 import bar_2020_white_box
from keras_reprogram.methods.blm_2024 import blm_2024, blmp_2024
from keras_reprogram.methods.elsayed_2019 import elsayed_2019
from keras_reprogram.methods.ilm_vp_2023 import ilm_vp_2023
from keras_reprogram.methods.kloberdanz_2020 import kloberdanz_2020
from keras_reprogram.methods.kloberdanz_2020_variants import kloberdanz_2020_variant
from keras_reprogram.methods.method import Method
from keras_reprogram.methods.registry import build_method, method_names
from keras_reprogram.methods.smm_2024 import smm_2024

__all__ = [
    "Method",
    "method_names",
    "build_method",
    "elsayed_2019",
    "bar_2020_white_box",
    "kloberdanz_2020",
    "kloberdanz_2020_variant",
    "bahng_2022",
    "ilm_vp_2023",
    "autovp_2024",
    "smm_2024",
    "blm_2024",
    "blmp_2024",
]
