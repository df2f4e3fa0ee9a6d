"""Request bodies that were packed with gzip, as TF Serving's REST interface takes them."""

from __future__ import annotations

import zlib

from keras_reprogram.serving.serving_error import ServingError

# zlib's number for gzip's own header and checksum.
_GZIP = 31
# A file may be several, one behind the other. Each copies what is left, so there is an end to it.
_MOST_MEMBERS = 16


def unpacked(body: bytes, encoding: str, most_bytes: int) -> bytes | None:
    """What was packed into a body.

    Args:
        body: as sent.
        encoding: the header `Content-Encoding`, or an empty text.
        most_bytes: that it may become; a few kilobytes may become gigabytes.

    Returns:
        The content, or `None` if it is longer; then no more than that was unpacked.

    Raises:
        ServingError: for another encoding, and for what is damaged.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return body
    if name not in ("gzip", "x-gzip"):
        raise ServingError(
            f"A request's body may be packed with gzip. Received: Content-Encoding {name[:40]!r}. "
            "Pack it with gzip, or not at all."
        )
    try:
        return _unpacked(body, most_bytes)
    except zlib.error:
        raise _damaged("other data") from None


def _unpacked(body: bytes, most_bytes: int) -> bytes | None:
    content = b""
    for _ in range(_MOST_MEMBERS):
        member = zlib.decompressobj(wbits=_GZIP)
        content += member.decompress(body, most_bytes - len(content) + 1)
        if len(content) > most_bytes:
            return None
        if not member.eof:
            raise _damaged("its beginning alone")
        body = member.unused_data
        if not body:
            return content
    raise _damaged(f"more than {_MOST_MEMBERS} files in one")


def _damaged(received: str) -> ServingError:
    return ServingError(
        f"The request says that its body is gzip. Received: {received}. Pack it again, or leave "
        "out the header Content-Encoding."
    )
