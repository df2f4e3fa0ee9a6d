"""LiteRTForm: in which numbers a `.tflite` file computes, and what it must reach."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LiteRTForm:
    """One of the forms of a LiteRT file.

    Args:
        name: what `export_litert(form=...)` is called with.
        least_agreement: share of images that must keep their most probable class.
        largest_difference: of a score, or `None` if rounding is what the form is about.
    """

    name: str
    least_agreement: float
    largest_difference: float | None = None

    @property
    def needs_images(self) -> bool:
        """Whether its agreement can be told on real images only."""
        return self.largest_difference is None


FORMS = {
    form.name: form
    for form in (
        # Two scores that are equal but for rounding may change places.
        LiteRTForm("float32", least_agreement=0.0, largest_difference=1e-5),
        LiteRTForm("float16", least_agreement=0.995),
        LiteRTForm("dynamic_int8", least_agreement=0.97),
        LiteRTForm("int8", least_agreement=0.97),
    )
}


def form_named(name: str) -> LiteRTForm:
    """Looks a form up.

    Args:
        name: its name.

    Returns:
        The form.

    Raises:
        ValueError: for an unknown name.

    Example:
    ```python
    from keras_reprogram.export.litert_form import form_named

    assert form_named("float16").least_agreement == 0.995
    ```
    """
    if name not in FORMS:
        raise ValueError(
            f"`form` must be one of {', '.join(FORMS)}. Received: {name!r}. float16 is the small "
            "one to try first."
        )
    return FORMS[name]
