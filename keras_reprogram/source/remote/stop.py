"""Stop: tells the threads that ask a service that nobody waits for their answers any more."""

from __future__ import annotations

import threading


class Stop(threading.Event):
    """Set when an error or Ctrl-C ends a call: whoever waits for something goes away.

    Attributes:
        interrupted: whether it was Ctrl-C: then what is claimed and has not left stays here too.
            After an error it is sent: the ledger has spent it, so that a budget ends where it ends.
    """

    interrupted = False

    def end(self, error: BaseException) -> None:
        """Sets it.

        Args:
            error: what ended the call.
        """
        self.interrupted = not isinstance(error, Exception)
        self.set()
