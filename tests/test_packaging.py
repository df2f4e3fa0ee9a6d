"""The wheel and the sdist hold what they should, and what they hold can be installed and run."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
VERSION_LINE = (REPOSITORY / "keras_reprogram" / "version.py").read_text().splitlines()[-1]
VERSION = VERSION_LINE.split('"')[1]
NEVER_SHIPPED = (".npz", ".h5", ".zip", ".gz", ".jpg", ".jpeg", ".ppm", ".pyc", ".egg-info")


def run(*command: object, cwd: Path) -> str:
    """Run a command outside the repository; return its output, or fail with all of it."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        pytest.fail(f"{command} exited with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sdist, and the wheel that is built from it."""
    dist = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", dist, REPOSITORY, cwd=dist)
    return {"sdist": next(dist.glob("*.tar.gz")), "wheel": next(dist.glob("*.whl"))}


def names_in_sdist(sdist: Path) -> list[str]:
    with tarfile.open(sdist) as archive:
        return [member.name.partition("/")[2] for member in archive.getmembers()]


def names_in_wheel(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def package_files() -> set[str]:
    files = (path for path in (REPOSITORY / "keras_reprogram").rglob("*") if path.is_file())
    return {str(path.relative_to(REPOSITORY)) for path in files if path.suffix != ".pyc"}


def test_wheel_holds_the_whole_package_and_nothing_else(built: dict[str, Path]) -> None:
    names = names_in_wheel(built["wheel"])
    in_package = {name for name in names if name.startswith("keras_reprogram/")}
    info = f"keras_reprogram-{VERSION}.dist-info/"

    assert in_package == package_files()
    assert all(name in in_package or name.startswith(info) for name in names)
    assert f"{info}licenses/LICENSE" in names
    assert "keras_reprogram/py.typed" in names


@pytest.mark.parametrize("suffix", [".keras", ".tflite", ".md"])
def test_embedded_source_is_shipped(built: dict[str, Path], suffix: str) -> None:
    embedded = "keras_reprogram/source/embedded/"
    for names in (names_in_wheel(built["wheel"]), names_in_sdist(built["sdist"])):
        assert any(name.startswith(embedded) and name.endswith(suffix) for name in names)


def test_sdist_holds_package_tests_and_papers(built: dict[str, Path]) -> None:
    names = set(names_in_sdist(built["sdist"]))

    assert package_files() <= names
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff"} <= names
    assert "tests/test_packaging.py" in names


def test_no_data_set_or_leftover_is_shipped(built: dict[str, Path]) -> None:
    names = names_in_wheel(built["wheel"]) + names_in_sdist(built["sdist"])

    # Small files of another Keras, which this one cannot write.
    own = [name for name in names if "tests/keras2_files/" not in name]
    assert [name for name in own if name.endswith(NEVER_SHIPPED)] == []
    assert [name for name in names if ".venv/" in name or "__pycache__" in name] == []
    assert [name for name in names if name.startswith("saved_models/")] == []
    assert built["wheel"].stat().st_size < 5_000_000


def test_wheel_declares_version_licence_and_extras(built: dict[str, Path]) -> None:
    with zipfile.ZipFile(built["wheel"]) as archive:
        metadata = archive.read(f"keras_reprogram-{VERSION}.dist-info/METADATA").decode()
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]

    assert f"Version: {VERSION}\n" in metadata
    assert "License-Expression: Apache-2.0\n" in metadata
    for extra in project["optional-dependencies"]:
        assert f"Provides-Extra: {extra}\n" in metadata


def environment_with(package: Path, folder: Path) -> Path:
    """A fresh virtual environment with `package` in it and this one's libraries behind it."""
    venv.create(folder, with_pip=False, symlinks=True)
    interpreter = folder / "bin" / "python"
    site_packages = Path(run(interpreter, "-c", PRINT_SITE_PACKAGES, cwd=folder).strip())
    # A .pth line adds the folder after the environment's own and does not run the .pth files
    # in it, so an editable install beside us stays out of sight.
    (site_packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    options = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation")
    pip = (sys.executable, "-m", "pip", "--python", interpreter)
    run(*pip, "install", *options, "--ignore-installed", package, cwd=folder)
    return folder / "bin"


PRINT_SITE_PACKAGES = "import sysconfig; print(sysconfig.get_path('purelib'))"
PRINT_ORIGIN = "import keras_reprogram as k; print(k.__version__, k.__file__, len(k.__all__) > 0)"


@pytest.mark.slow
def test_unpacked_wheel_runs_outside_the_repository(built: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "unpacked"
    with zipfile.ZipFile(built["wheel"]) as archive:
        archive.extractall(folder)
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); {PRINT_ORIGIN}"

    version, origin, has_names = run(sys.executable, "-c", code, cwd=tmp_path).split()
    assert (version, has_names) == (VERSION, "True")
    assert Path(origin).is_relative_to(folder)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_installed_package_runs_outside_the_repository(
    built: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    folder = tmp_path / "environment"
    binaries = environment_with(built[kind], folder)

    version, origin, has_names = run(binaries / "python", "-c", PRINT_ORIGIN, cwd=tmp_path).split()
    assert (version, has_names) == (VERSION, "True")
    assert Path(origin).is_relative_to(folder)
    assert VERSION in run(binaries / "keras-reprogram", "--version", cwd=tmp_path)
