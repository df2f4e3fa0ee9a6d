"""`--help` explains every option of every command."""

import pytest
from command_runs import Command

from keras_reprogram import __version__

COMMANDS = (
    "demo",
    "estimate",
    "train",
    "evaluate",
    "predict",
    "export",
    "student",
    "score",
    "serve",
    "inspect",
    "probe",
    "audit",
    "report",
)


def test_help_lists_the_commands(command: Command) -> None:
    ended = command("--help")

    assert ended.code == 0
    for name in COMMANDS:
        assert f" {name} " in ended.out
    assert "keras-reprogram demo" in ended.out


def test_version(command: Command) -> None:
    assert command("--version") == (0, f"keras-reprogram {__version__}\n", "")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(command: Command, name: str) -> None:
    import typer

    from keras_reprogram.command_line.app import app

    ended = command(name, "--help")
    assert ended.code == 0
    for parameter in typer.main.get_command(app).commands[name].params:
        assert parameter.help, parameter.name
        if parameter.opts[0].startswith("--"):
            assert parameter.opts[0] in ended.out


@pytest.mark.parametrize("name", COMMANDS[1:])
def test_help_shows_an_example(command: Command, name: str) -> None:
    assert f"keras-reprogram {name} " in command(name, "--help").out.replace("\n", " ")
