"""Published methods by their names: configurations of program, output map and training."""

from keras_reprogram.methods.adversarial_reprogramming import (
    elsayed_2019,
    kloberdanz_2020,
    kloberdanz_2020_variant,
)
from keras_reprogram.methods.bar_2020 import bar_2020_white_box
from keras_reprogram.methods.lor_vp_2025 import lor_vp_2025
from keras_reprogram.methods.method import Method
from keras_reprogram.methods.registry import build_method, method_names
from keras_reprogram.methods.trained_placement import autovp_2024, smm_2024
from keras_reprogram.methods.visual_prompts import bahng_2022, blm_2024, blmp_2024, ilm_vp_2023
from keras_reprogram.methods.voice2series_2021 import voice2series_2021

__all__ = [
    "Method",
    "method_names",
    "build_method",
    "elsayed_2019",
    "bar_2020_white_box",
    "kloberdanz_2020",
    "kloberdanz_2020_variant",
    "voice2series_2021",
    "bahng_2022",
    "ilm_vp_2023",
    "autovp_2024",
    "smm_2024",
    "blm_2024",
    "blmp_2024",
    "lor_vp_2025",
]
