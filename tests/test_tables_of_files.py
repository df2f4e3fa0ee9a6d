"""Every row of the tables in docs/models.md and docs/data.md has tests, and they are there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
DOCS = TESTS.parent / "docs"
SOURCE, COMMANDS, DATA = "source/test_", "command_line/test_", "datasets/test_"

# First cell of a row -> the tests that show it, seen from this folder.
MODELS = {
    "name of a `keras.applications` network": [
        f"{SOURCE}applications.py::test_built_application_answers_as_on_preprocessed_pixels",
        f"{SOURCE}applications.py::test_real_weights",
    ],
    "`.keras` of Keras 3 (ending in any case)": [
        f"{SOURCE}keras_files.py::test_endings_in_any_case",
        f"{COMMANDS}source_option.py::test_opaque_keras_source_answers_alike_and_refuses_gradients",
    ],
    "`.keras`, `.h5` of Keras 2": [
        f"{SOURCE}keras_files.py::test_files_of_keras_2_answer_as_keras_2_did",
    ],
    "Teachable Machine's `keras_model.h5` and `labels.txt`": [
        f"{SOURCE}keras_files.py::test_teachable_machine_on_the_command_line"
    ],
    "Keras 2 with Lambda layers": [
        f"{SOURCE}keras_files.py::test_what_cannot_be_loaded_says_what_wrote_it"
    ],
    "`.weights.h5`": [
        f"{COMMANDS}wrong_input.py::test_files_of_other_kinds_are_files_and_have_a_way_out"
    ],
    "Keras network of channels first": [
        f"{SOURCE}frozen_source.py::test_channels_first_must_be_said_and_answers_alike",
        f"{COMMANDS}source_option.py::test_settings_describe_a_keras_file",
    ],
    "Keras network of any image size": [
        f"{SOURCE}frozen_source.py::test_a_model_of_any_size_takes_the_chosen_one"
    ],
    "Keras network of logits or sigmoids": [f"{SOURCE}score_kinds.py::test_kind_of_a_keras_model"],
    "KerasHub image classifier, in Python": [
        f"{SOURCE}network_preprocessing.py::test_a_classifier_of_keras_hub"
    ],
    "Keras network in half precision": [
        f"{SOURCE}network_numbers.py::"
        "test_under_a_policy_of_half_precision_a_source_is_what_it_is_without",
        f"{SOURCE}network_numbers.py::test_weights_in_half_precision_are_refused_with_the_cause",
    ],
    "Keras network quantised to int8, int4 or float8": [
        f"{SOURCE}network_numbers.py::test_a_source_of_whole_weights_has_its_gradient",
        f"{SOURCE}network_numbers.py::test_a_float8_source_is_estimated",
    ],
    "SavedModel of floats (float16, float64 too)": [
        f"{SOURCE}saved_model_source.py::test_a_signature_of_other_floats_gets_them",
    ],
    "SavedModel of uint8": [
        f"{SOURCE}saved_model_source.py::"
        "test_a_signature_of_bytes_gets_rounded_pixels_and_has_no_gradient"
    ],
    "SavedModel of a fixed batch": [
        f"{SOURCE}saved_model_source.py::"
        "test_a_signature_of_a_fixed_batch_is_called_in_such_batches"
    ],
    "SavedModel of any image size": [
        f"{SOURCE}saved_model_source.py::test_a_signature_of_any_size_asks_for_one"
    ],
    "SavedModel of `image_bytes`, also with a `key` (AutoML)": [
        f"{SOURCE}encoded_image_sources.py::test_images_are_sent_as_files",
        f"{SOURCE}encoded_image_sources.py::test_a_key_beside_each_image",
    ],
    "SavedModel of several outputs": [
        f"{SOURCE}saved_model_source.py::test_output_must_be_named_where_there_are_several"
    ],
    "SavedModel that takes blue before red": [
        f"{SOURCE}prepared_pixels.py::test_pixels_are_turned_round_and_scaled"
    ],
    "Custom Vision's SavedModel and `.tflite`, with `labels.txt`": [
        f"{SOURCE}custom_vision_files.py::test_a_saved_model_with_labels",
        f"{SOURCE}custom_vision_files.py::test_a_tflite_file_with_labels",
    ],
    "`.tflite` of floats": [
        f"{SOURCE}litert_source.py::test_float_file_answers_as_the_network",
        f"{SOURCE}litert_source.py::test_float_file_needs_to_be_told_its_range",
    ],
    "`.tflite` of floats with metadata": [
        f"{SOURCE}litert_metadata.py::test_float_files_say_how_pixels_are_normalised",
        f"{SOURCE}litert_metadata.py::test_a_range_that_the_metadata_contradict_is_refused",
    ],
    "`.tflite` of 8-bit pixels or scores": [
        f"{SOURCE}litert_source.py::test_quantised_file_answers_nearly_as_the_network",
        f"{SOURCE}litert_source.py::test_codes_are_the_files_own",
    ],
    "`.tflite` of a fixed batch, or one that refuses other batches": [
        f"{SOURCE}litert_source.py::test_a_file_of_a_fixed_batch_is_asked_in_such_batches",
        f"{SOURCE}litert_source.py::test_a_file_that_refuses_other_batch_sizes_is_asked_singly",
    ],
    "`.tflite` of any image size": [
        f"{SOURCE}litert_source.py::test_a_file_of_any_size_asks_for_one"
    ],
    "`.tflite` that takes blue before red": [
        f"{SOURCE}prepared_pixels.py::test_an_8_bit_file_may_take_blue_first"
    ],
    "`.onnx`, of PyTorch's exporters and others": [
        f"{SOURCE}onnx_source.py::test_scores_are_the_networks",
        f"{SOURCE}onnx_source.py::test_real_files_answer_as_onnxruntime_itself",
    ],
    "`.onnx` with ONNX's metadata of images": [
        f"{SOURCE}custom_vision_files.py::"
        "test_metadata_of_an_onnx_file_are_not_contradicted_by_mistake",
        f"{SOURCE}custom_vision_files.py::test_metadata_that_say_another_range",
    ],
    "`.onnx` that names its scores (Custom Vision's `loss`)": [
        f"{SOURCE}custom_vision_files.py::test_an_onnx_file_says_all_of_itself"
    ],
    "`.pt`, `.pth`": [
        f"{COMMANDS}wrong_input.py::test_files_of_other_kinds_are_files_and_have_a_way_out"
    ],
    "`.pb`, `.zip`": [
        f"{COMMANDS}wrong_input.py::test_files_of_other_kinds_are_files_and_have_a_way_out"
    ],
    "anything else that answers images": [
        f"{COMMANDS}source_option.py::test_python_code_makes_a_source",
        f"{SOURCE}opaque_source.py::test_function_sees_float_arrays",
    ],
}
DATA_SETS = {
    "a folder with a folder of images for each class": [
        f"{DATA}image_folder.py::test_class_folders_are_split_stratified_and_seeded",
        f"{DATA}image_folder.py::test_sizes_that_differ_become_one",
    ],
    "`train/`, `test/` and `val/` of class folders": [
        f"{DATA}image_folder.py::test_train_and_test_folders_are_kept_apart",
        f"{DATA}image_folder.py::test_validation_beside_test_decides",
    ],
    "a folder and `--groups FILE` (CSV: path, group)": [
        f"{DATA}image_folder.py::test_groups_of_a_table_stay_together",
        f"{COMMANDS}manifest_commands.py::test_groups_of_a_folder_are_a_file",
    ],
    "a manifest, `.csv` or `.tsv`: path, label, group, split, weight": [
        f"{DATA}manifest.py::test_all_columns_are_read_from_every_kind_of_table",
        f"{COMMANDS}manifest_commands.py::test_a_manifest_is_trained_on_and_measured_again",
    ],
    "a manifest, `.parquet` (extra `parquet`)": [
        f"{DATA}manifest.py::test_all_columns_are_read_from_every_kind_of_table"
    ],
    "a manifest without `label`, or several `--column label=NAME`": [
        f"{DATA}manifest.py::test_several_columns_are_findings",
        f"{COMMANDS}manifest_commands.py::test_columns_of_findings_are_trained_on",
    ],
    "a table of texts, `.csv`, `.tsv` or `.parquet`: text, label, group, split, weight": [
        f"{DATA}text_table.py::test_rows_become_token_numbers",
        f"{DATA}text_table.py::test_equal_texts_stay_on_one_side",
        f"{COMMANDS}text_runs.py::test_a_run_of_texts",
    ],
    "a pandas DataFrame": [
        f"{DATA}manifest.py::test_all_columns_are_read_from_every_kind_of_table",
        "asking/test_foreign_data.py::"
        "test_columns_of_labels_groups_and_weights_are_taken_by_position",
    ],
    "MedMNIST, `pathmnist.npz` to `pathmnist_224.npz`": [
        f"{DATA}medmnist.py::test_an_archive_of_classes",
        f"{DATA}medmnist.py::test_the_package_itself_reads_such_archives",
    ],
    "MedMNIST, `chestmnist.npz`": [f"{DATA}medmnist.py::test_several_columns_are_findings"],
    "DICOM (extra `dicom`), with or without an ending": [
        f"{DATA}dicom_files.py::test_levels_are_rescaled_and_windowed_as_pydicom_does_it",
        f"{DATA}dicom_files.py::test_a_folder_is_split_by_patient",
        f"{COMMANDS}dicom_commands.py::test_a_run_keeps_window_and_fit",
    ],
    "DICOM of several frames, without pixels, damaged": [
        f"{DATA}dicom_files.py::test_what_is_no_single_picture_is_refused"
    ],
    "16-bit PNG and TIFF": [
        f"{DATA}image_folder.py::test_sixteen_bit_files_keep_the_levels_that_they_use",
        f"{DATA}image_folder.py::test_a_narrow_window_of_sixteen_bits_is_found",
        f"{DATA}image_folder.py::test_tiff_files_of_tifffile_are_read",
    ],
    "images of other aspect ratios": [
        f"{DATA}image_folder.py::test_aspect_ratios_are_kept",
        f"{COMMANDS}dicom_commands.py::test_what_is_stretched_is_said_once",
    ],
    "TensorFlow Datasets, `tfds:NAME`": [
        f"{DATA}load_target.py::test_tfds_name_is_loaded_and_split",
        f"{DATA}tfds_targets.py::test_a_set_is_drawn_before_it_is_read",
    ],
    "a torch `DataLoader`": ["asking/test_foreign_data.py::test_torch"],
    "`grain`": ["asking/test_foreign_data.py::test_grain_is_read_batch_by_batch_and_counted"],
    "Hugging Face `datasets`": ["asking/test_foreign_data.py::test_hugging_face"],
    "NIfTI, `.nii`, `.nii.gz` (extra `nifti`)": [
        f"{DATA}nifti_files.py::test_the_middle_axial_slice_is_shown_as_radiologists_do",
        f"{DATA}nifti_files.py::test_a_file_of_one_slice_is_that_slice",
        f"{DATA}nifti_files.py::test_a_window_is_found_where_files_state_none",
        f"{COMMANDS}nifti_commands.py::test_a_run_keeps_the_window",
    ],
    "NIfTI of several times (4D), of colours, damaged": [
        f"{DATA}nifti_files.py::test_what_is_no_volume_is_refused"
    ],
    "`.zip`, `.tar`, other files": [f"{DATA}load_target.py::test_packed_files_are_refused"],
}
PAGES = {"models.md": MODELS, "data.md": DATA_SETS}


def first_cells(page: str) -> list[str]:
    """The first cells of the rows of a page's first table, without its head."""
    table = re.search(r"(?:^\| .*\n)+", (DOCS / page).read_text(), re.MULTILINE)
    assert table is not None
    return [row.removeprefix("| ").split(" | ")[0] for row in table[0].splitlines()[2:]]


@cache
def names_of_tests(file: str) -> frozenset[str]:
    tree = ast.parse((TESTS / file).read_text())
    names = (node.name for node in tree.body if isinstance(node, ast.FunctionDef))
    return frozenset(name for name in names if name.startswith("test_"))


@pytest.mark.parametrize(("page", "at_least"), [("models.md", 30), ("data.md", 15)])
def test_every_row_names_its_tests(page: str, at_least: int) -> None:
    cells = first_cells(page)
    assert len(cells) == len(set(cells)) >= at_least
    assert sorted(cells) == sorted(PAGES[page]), "a row without a test, or a test without a row"


@pytest.mark.parametrize("page", PAGES)
def test_the_tests_are_there(page: str) -> None:
    named = [test for tests in PAGES[page].values() for test in tests]
    missing = [
        test for test in named if test.split("::")[1] not in names_of_tests(test.split("::")[0])
    ]
    assert not missing
    assert all(PAGES[page].values())
