"""JPEG, PNG and BMP files of every kind that cameras, scanners and programs write."""

import io
import struct
import zlib

import numpy as np
import tensorflow as tf
from PIL import Image

# Odd sides, no symmetry: a turned, mirrored or cut picture cannot look right.
HEIGHT, WIDTH = 21, 14


def picture(seed=0):
    """Smooth colours, brighter to the right and to the bottom, with an edge."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] / [[[HEIGHT]], [[WIDTH]]]
    codes = np.stack([200 * columns, 220 * rows, 90 + 60 * (columns > rows)], axis=-1)
    noise = np.random.default_rng(seed).integers(0, 30, codes.shape)
    return Image.fromarray((codes + noise).astype(np.uint8))


def saved(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def exif(orientation, endian="<"):
    said = Image.Exif()
    said.endian = endian
    said[0x010F], said[0x0112], said[0x0131] = "Maker", orientation, "Program 1.0"
    return said


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def interlaced(codes):
    """A PNG in Adam7 order, which Pillow reads and does not write."""
    rows = b""
    for top, left, down, right in (
        *((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)),
        *((2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)),
    ):
        for row in codes[top::down, left::right]:
            rows += b"\0" + row.tobytes() if row.size else b""
    header = struct.pack(">IIBBBBB", codes.shape[1], codes.shape[0], 8, 2, 0, 0, 1)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def late_exif(content, orientation):
    """The EXIF chunk of a PNG behind its pixels, where the standard lets it stand."""
    block = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    return content[:-12] + chunk(b"eXIf", block) + content[-12:]


def deep(codes, highest):
    """8-bit codes as a 16-bit PNG with levels up to `highest`."""
    levels = np.rint(codes / 255 * highest).astype(np.uint16)
    return tf.io.encode_png(levels).numpy()


def odd_files():
    """Name -> file; all show the same picture, some turned, some grey."""
    colours, grey = picture(), picture().convert("L")
    palette = colours.quantize(32)
    turned = {
        f"{kind.lower()} orientation {number}": saved(colours, kind, exif=exif(number))
        for kind in ("JPEG", "PNG")
        for number in (2, 3, 4, 5, 6, 7, 8)
    }
    return turned | {
        "jpeg": saved(colours, "JPEG"),
        "jpeg orientation 6, big-endian": saved(colours, "JPEG", exif=exif(6, ">")),
        "jpeg orientation 9, which there is not": saved(colours, "JPEG", exif=exif(9)),
        "jpeg progressive": saved(colours, "JPEG", progressive=True, quality=60),
        "jpeg 4:4:4": saved(colours, "JPEG", subsampling=0, quality=97),
        "jpeg 4:2:0, low quality": saved(colours, "JPEG", subsampling=2, quality=5),
        "jpeg grey": saved(grey, "JPEG"),
        "jpeg cmyk": saved(colours.convert("CMYK"), "JPEG", quality=90),
        "jpeg rgb, not ycbcr": saved(colours, "JPEG", keep_rgb=True),
        "jpeg with profile and comment": saved(
            colours, "JPEG", icc_profile=bytes(70_000), comment=b"x" * 300, exif=exif(3)
        ),
        "jpeg with xmp alone": saved(colours, "JPEG", xmp=b'<x tiff:Orientation="6"/>'),
        "jpeg with a tail": saved(colours, "JPEG") + b"\0" * 99,
        "png": saved(colours, "PNG"),
        "png interlaced": interlaced(np.asarray(colours)),
        "png palette": saved(palette, "PNG"),
        "png palette of 4 bits": saved(colours.quantize(9), "PNG", bits=4),
        "png palette, transparent": saved(palette, "PNG", transparency=bytes(range(0, 256, 8))),
        "png grey": saved(grey, "PNG"),
        "png grey and alpha": saved(grey.convert("LA"), "PNG"),
        "png grey, one level transparent": saved(grey, "PNG", transparency=100),
        "png alpha": saved(Image.merge("RGBA", (*colours.split(), grey)), "PNG"),
        "png 1 bit": saved(grey.convert("1"), "PNG"),
        "png orientation behind the pixels": late_exif(saved(colours, "PNG"), 8),
        "png with profile": saved(colours, "PNG", icc_profile=bytes(5_000), dpi=(300, 300)),
        "png 16 bits, 8 used": deep(np.asarray(grey)[..., None], 255),
        "png animated": saved(colours, "PNG", save_all=True, append_images=[picture(1)]),
        "bmp": saved(colours, "BMP"),
        "bmp grey": saved(grey, "BMP"),
        "bmp palette": saved(colours.quantize(256), "BMP"),
        "bmp 32 bits": saved(colours.convert("RGBA"), "BMP"),
    }


def unserved_files():
    """Name -> file: what training reads, or not, and an export must refuse by name."""
    colours = picture()
    return {
        "gif": saved(colours, "GIF"),
        "tiff": saved(colours, "TIFF"),
        "webp": saved(colours, "WEBP"),
        "bmp 1 bit": saved(colours.convert("1"), "BMP"),
        "ppm": saved(colours, "PPM"),
        "text": b"no picture",
        "nothing": b"",
    }


def deep_files(highest):
    """Name -> 16-bit file with levels up to `highest`."""
    codes = np.asarray(picture())
    return {
        "grey": deep(codes[..., :1], highest),
        "grey and alpha": deep(codes[..., :2], highest),
        "colours": deep(codes, highest),
        "colours and alpha": deep(np.dstack([codes, codes[..., :1]]), highest),
    }
