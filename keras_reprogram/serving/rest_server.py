"""RestServer: the web application on a port, in a thread of its own."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from keras_reprogram.serving.listening_sockets import listening_socket
from keras_reprogram.serving.rest_app import rest_app
from keras_reprogram.serving.server_packages import needs_server_package
from keras_reprogram.serving.server_state import ServerState

if TYPE_CHECKING:
    import uvicorn


class RestServer:
    """Listens from the beginning, answers from `start` on.

    Args:
        state: of the server.
        host: a name or an address.
        port: 0 for any free one.
        page: whether the demo page is at `/`.

    Attributes:
        port: the port it listens at.

    Raises:
        OSError: if the port is taken.
        ImportError: if uvicorn or starlette are not installed.
    """

    def __init__(self, state: ServerState, host: str, port: int, *, page: bool) -> None:
        with needs_server_package("uvicorn"):
            import uvicorn
        config = uvicorn.Config(
            rest_app(state, page=page), log_config=None, access_log=False, lifespan="off"
        )
        self._socket = listening_socket(host, port, "--rest-port")
        self.port: int = self._socket.getsockname()[1]
        self._server: uvicorn.Server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="rest", daemon=True
        )

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Takes no more requests, and waits for those that run.

        Args:
            seconds: at most.
        """
        # uvicorn counts whole seconds, and waits without end at 0.
        self._server.config.timeout_graceful_shutdown = max(1, round(seconds))
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()
