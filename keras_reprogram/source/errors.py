"""The errors of sources: one tree, `SourceError` and below.

```
SourceError
    BudgetSpentError            the budget does not pay for the next queries
    UnknownFateError            queries of a crashed run may have been billed
    NotBilledError              surely not billed
        SourceRefusedError      refused for good
        NeverSentError          the request was cancelled before it was sent
        SourceBusyError         not taken; try again later
    SourceUnavailableError      try again later; whether it was billed is unknown
        SourceBusyError
    SourceDriftedError          the service answers otherwise than when the ledger began
```
"""

from __future__ import annotations

from typing import Any


class SourceError(RuntimeError):
    """Base class of the errors of sources, services and ledgers.

    Example:
    ```python
    from keras_reprogram import BudgetSpentError, SourceError

    try:
        raise BudgetSpentError("The budget of 100 queries is spent.")
    except SourceError as error:    # any of the tree
        print(error)
    ```
    """


class BudgetSpentError(SourceError):
    """The next queries do not fit the budget; none of them was sent.

    Example:
    ```python
    from keras_reprogram import BudgetSpentError, QueryLedger
    from keras_reprogram.source import query_key

    with QueryLedger("small.ledger", budget=0) as ledger:
        try:
            ledger.claim([query_key("a model, version 1", "", b"an image")])
        except BudgetSpentError as error:
            print(error)
    ```
    """


class UnknownFateError(SourceError):
    """Queries were sent by a run that ended before their answers came.

    Example:
    ```python
    from keras_reprogram import QueryLedger, UnknownFateError
    from keras_reprogram.source import query_key

    key = query_key("a model, version 1", "", b"an image")
    with QueryLedger("crashed.ledger") as ledger:
        ledger.claim([key])     # and the run ends here
    with QueryLedger("crashed.ledger", on_unknown="raise") as ledger:
        try:
            ledger.claim([key])
        except UnknownFateError as error:
            print(error)
    ```
    """


class NotBilledError(SourceError):
    """A request that surely was not billed: refused, or never connected.

    Example:
    ```python
    from keras_reprogram import NotBilledError, SourceBusyError, SourceRefusedError

    assert issubclass(SourceRefusedError, NotBilledError)
    assert issubclass(SourceBusyError, NotBilledError)
    ```
    """


class SourceRefusedError(NotBilledError):
    """The service refused for good: asking again would be refused again.

    Example:
    ```python
    from keras_reprogram import NotBilledError, SourceRefusedError

    try:
        raise SourceRefusedError("403: this key may not ask this model.")
    except NotBilledError as error:
        print("nothing was paid:", error)
    ```
    """


class NeverSentError(NotBilledError):
    """The request was cancelled before it was sent."""


class SourceUnavailableError(SourceError):
    """The service may answer later; whether this request was billed is unknown.

    Args:
        message: for people.
        retry_after: seconds that the service asked to wait, or `None`.

    Example:
    ```python
    from keras_reprogram import NotBilledError, SourceUnavailableError

    error = SourceUnavailableError("The connection was lost.", retry_after=1.0)
    assert not isinstance(error, NotBilledError)    # it may have been billed
    ```
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    def __reduce__(self) -> Any:
        # An executor of other processes must be able to pickle it completely.
        return type(self), (*self.args, self.retry_after)


class SourceBusyError(SourceUnavailableError, NotBilledError):
    """The service did not take the request (429, no connection): not billed, try again later.

    Example:
    ```python
    from keras_reprogram import SourceBusyError

    error = SourceBusyError("429: too many requests", retry_after=2.0)
    assert error.retry_after == 2.0
    ```
    """


class SourceDriftedError(SourceError, ValueError):
    """A service answers the same image differently than before: its model was replaced.

    Example:
    ```python
    from keras_reprogram import SourceDriftedError, SourceError

    assert issubclass(SourceDriftedError, SourceError)
    ```
    """
