"""ServerLimits: how much a client may ask for."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class ServerLimits:
    """What a server takes at most.

    Args:
        request_bytes: of a request, as sent and, where it was packed with gzip, unpacked.
        rows: images, or other rows, of a request.
        pixels: of an image file, as its header says, before it is decoded.
        in_flight: requests that run at once.
        queued: requests that wait for those; one more is refused as too many.

    Raises:
        ValueError: for a limit below 1 (`queued`: 0).

    Example:
    ```python
    from keras_reprogram.serving import ServerLimits

    small = ServerLimits(rows=64, in_flight=2)
    assert small.pixels == 50_000_000
    ```
    """

    request_bytes: int = 128 * 2**20
    rows: int = 4096
    pixels: int = 50_000_000
    in_flight: int = 8
    queued: int = 64

    def __post_init__(self) -> None:
        for field in fields(self):
            value, least = getattr(self, field.name), 0 if field.name == "queued" else 1
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(
                    f"`{field.name}` must be an integer of at least {least}. Received: {value!r}."
                )
