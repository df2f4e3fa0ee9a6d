"""Checks a release: its version, and its wheel in a bare environment of each interpreter.

    python .ci/release_check.py python3.11 python3.12 python3.13

Interpreters that are not there are named and left out; one at least must be. pip fetches the
dependencies, as it does for a user.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
# In an empty folder, so that nothing of the repository is in sight.
FIRST_STEPS = (
    ("keras-reprogram", "--version"),
    ("keras-reprogram", "train", "--source", "traffic-signs", "--opaque", "--target", "digits")
    + ("--train-images", "200", "--test-images", "100", "--name", "first", "--quiet"),
    ("keras-reprogram", "export", "runs/first", "--source", "traffic-signs", "--quiet"),
)


def version_of(repository: Path) -> str:
    """The version that packaging reads."""
    text = (repository / "keras_reprogram" / "version.py").read_text()
    return re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)[1]


def version_faults(repository: Path, tags: list[str]) -> list[str]:
    """What does not agree with the version: the changelog's first heading, and tags of HEAD."""
    version, faults = version_of(repository), []
    changelog = (repository / "CHANGELOG.md").read_text()
    heading = re.search(r"^## \[(.+?)\] - (.+)$", changelog, re.MULTILINE)
    if heading is None or heading[1] != version:
        found = heading and heading[0]
        faults.append(f"CHANGELOG.md must begin with ## [{version}]. Received: {found}.")
    versions = [tag for tag in tags if re.match(r"v\d", tag)]
    if any(tag != f"v{version}" for tag in versions):
        faults.append(f"The tag must be v{version}. Received: {', '.join(versions)}.")
    if versions and heading is not None and not re.fullmatch(r"\d{4}-\d\d-\d\d", heading[2]):
        faults.append(f"A tagged version has a date in CHANGELOG.md. Received: {heading[2]}.")
    return faults


def run(*command: object, cwd: Path) -> str:
    """Runs a command; ends with its whole output where it fails."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        line = " ".join(map(str, command))
        raise SystemExit(f"FAILED ({done.returncode}): {line}\n{done.stdout}\n{done.stderr}")
    return done.stdout.strip()


def interpreter_version(name: str) -> str | None:
    """Such as "3.12.1", or `None` if it does not run."""
    try:
        done = subprocess.run([name, "-V"], capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.removeprefix("Python ").strip() if done.returncode == 0 else None


def try_wheel(interpreter: str, wheel: Path, folder: Path) -> None:
    """Installs the wheel into a bare environment and takes the first steps with it."""
    run(interpreter, "-m", "venv", folder / "environment", cwd=folder)
    binaries = folder / "environment" / ("Scripts" if sys.platform == "win32" else "bin")
    run(binaries / "python", "-m", "pip", "install", "--quiet", wheel, cwd=folder)
    work = folder / "work"
    work.mkdir()
    for command, *arguments in FIRST_STEPS:
        run(binaries / command, *arguments, cwd=work)


def main(names: list[str]) -> None:
    """Checks version, builds, tries the wheel; prints a line for each."""
    tags = run("git", "tag", "--points-at", "HEAD", cwd=REPOSITORY).split()
    faults = version_faults(REPOSITORY, tags)
    if faults:
        raise SystemExit("\n".join(faults))
    print(f"version {version_of(REPOSITORY)}, tags {', '.join(tags) or 'none'}")
    found = {name: interpreter_version(name) for name in names}
    if not any(found.values()):
        raise SystemExit(
            f"None of {', '.join(names)} runs. Name others: PYTHONS=/path/to/python3.12"
        )
    with tempfile.TemporaryDirectory() as place:
        dist = Path(place) / "dist"
        run(sys.executable, "-m", "build", "--outdir", dist, REPOSITORY, cwd=Path(place))
        (wheel,) = dist.glob("*.whl")
        print(f"built {wheel.name}")
        for name, version in found.items():
            if version is None:
                print(f"{name}: not here, left out")
                continue
            folder = Path(place) / f"python{version}"
            folder.mkdir()
            try_wheel(name, wheel, folder)
            print(f"{name} ({version}): installed, trained, exported")


if __name__ == "__main__":
    main(sys.argv[1:] or ["python3.11", "python3.12", "python3.13"])
