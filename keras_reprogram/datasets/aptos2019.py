"""APTOS 2019: photographs of the retina, graded for diabetic retinopathy."""

from dataclasses import replace

from keras_reprogram.datasets.target_data import TargetData
from keras_reprogram.datasets.tfds import load_known_tfds

SOURCE = "https://www.kaggle.com/competitions/aptos2019-blindness-detection"
# The values 0 to 4 of the column `diagnosis`.
GRADES = ("no retinopathy", "mild", "moderate", "severe", "proliferative")


def load_aptos2019() -> TargetData:
    """Loads APTOS 2019 in 224x224, prepared through TensorFlow Datasets from the Kaggle zip.

    Fixed stratified parts, since the competition's own test grades are secret. About half of the
    pictures have no retinopathy, so report balanced accuracy beside accuracy.

    Returns:
        A `TargetData` of shape (224, 224, 3).

    Raises:
        ValueError: If it is not prepared and cannot be, for example because the zip is not there.

    Example:
        ```python
        from keras_reprogram.datasets import load_aptos2019

        try:
            print(load_aptos2019().class_names)
        except ValueError as error:
            print("aptos2019-blindness-detection" in str(error))
        ```

    References:
        Asia Pacific Tele-Ophthalmology Society, "APTOS 2019 Blindness Detection", 2019. BAR (Tsai,
        Chen, Ho, ICML 2020) has the task with five grades, too.
    """
    target = load_known_tfds("aptos2019/224x224", train_split="train+validation")
    notes = (
        "Fixed stratified split by this library of the competition's training pictures; they have "
        "no patient numbers, so the two eyes of a patient may be in different parts.",
        "Half of them have no retinopathy: look at balanced accuracy too.",
    )
    return replace(target, name="aptos2019", notes=notes + target.notes)
