"""Pictures that are no digits, there without any download: letters, and crops of photographs."""

from __future__ import annotations

import string

import numpy as np
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

_FAMILIES = ("DejaVu Sans", "DejaVu Serif", "DejaVu Sans Mono")
_FONT_SIZE = 64
_SMALLEST_CROP, _LARGEST_CROP = 32, 200


def letters(height: int, width: int) -> np.ndarray:
    """A to Z in the fonts of Matplotlib, plain and bold: white on black, uint8 `(156, h, w, 1)`."""
    fonts = [
        ImageFont.truetype(font_manager.findfont(_properties(family, weight)), _FONT_SIZE)
        for family in _FAMILIES
        for weight in ("normal", "bold")
    ]
    drawn = [_letter(letter, font) for font in fonts for letter in string.ascii_uppercase]
    return _small(drawn, height, width)


def _properties(family: str, weight: str) -> font_manager.FontProperties:
    return font_manager.FontProperties(family=family, weight=weight)


def _letter(letter: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """The letter in the middle of a square that it just fits into, as the digits do."""
    sheet = Image.new("L", (2 * _FONT_SIZE, 2 * _FONT_SIZE), 0)
    ImageDraw.Draw(sheet).text((_FONT_SIZE, _FONT_SIZE), letter, 255, font, anchor="mm")
    ink = sheet.crop(sheet.getbbox())
    side = max(ink.size)
    square = Image.new("L", (side, side), 0)
    square.paste(ink, ((side - ink.width) // 2, (side - ink.height) // 2))
    return square


def photographs(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Crops of scikit-learn's two photographs, in grey: uint8 `(count, h, w, 1)`."""
    from sklearn.datasets import load_sample_images

    random = np.random.default_rng(seed)
    pictures = [Image.fromarray(picture).convert("L") for picture in load_sample_images().images]
    crops = []
    for number in range(count):
        picture = pictures[number % len(pictures)]
        side = int(random.integers(_SMALLEST_CROP, _LARGEST_CROP))
        left = int(random.integers(picture.width - side))
        top = int(random.integers(picture.height - side))
        crops.append(picture.crop((left, top, left + side, top + side)))
    return _small(crops, height, width)


def _small(pictures: list[Image.Image], height: int, width: int) -> np.ndarray:
    small = [picture.resize((width, height), Image.Resampling.BOX) for picture in pictures]
    return np.stack([np.asarray(picture) for picture in small])[..., None]
