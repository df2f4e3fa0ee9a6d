"""Ports of the server: taken before anything is loaded, refused clearly."""

from __future__ import annotations

import socket


def listening_socket(host: str, port: int, option: str) -> socket.socket:
    """A socket that listens.

    Args:
        host: a name or an address.
        port: 0 for any free one.
        option: what the user called the port.

    Raises:
        OSError: if the port is taken, or the host is not of this machine.
    """
    check_port(port, option)
    try:
        return socket.create_server((host, port), family=_family(host), backlog=128)
    except (OSError, UnicodeError) as error:
        raise port_error(host, port, option, str(error)) from None


def check_port(port: int, option: str) -> None:
    """Refuses what is no port.

    Args:
        port: a number.
        option: what the user called it.

    Raises:
        ValueError: for a number that is no port.
    """
    if not 0 <= port <= 65535:
        raise ValueError(f"{option} must be from 0 to 65535. Received: {port}.")


def port_error(host: str, port: int, option: str, said: str) -> OSError:
    """The error of a port that cannot be listened at.

    Args:
        host: as wanted.
        port: as wanted.
        option: what the user called the port.
        said: by the operating system.
    """
    return OSError(
        f"The server cannot listen at {address(host, port)}. Received: {said}. Stop what uses the "
        f"port, or choose another with {option}; 0 takes a free one."
    )


def address(host: str, port: int) -> str:
    """`host:port`, with brackets where the host has colons.

    Args:
        host: a name or an address.
        port: a number.
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
