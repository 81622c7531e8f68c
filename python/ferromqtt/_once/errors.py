"""The errors of exactly-once handlers."""

from __future__ import annotations


class OnceError(Exception):
    """An exactly-once handler has stopped: the base of the errors of `ferromqtt.once`.

    `Router.run` raises it. What its text says is not acknowledged comes again when the client
    connects the next time.
    """


class HandlerFailedError(OnceError):
    """A handler has raised at each try, and there is no table of dead letters to put its message.

    The exception of the last try is the cause. The message is not acknowledged. Those before it
    are handled, committed and acknowledged.
    """


class TransactionEndedError(OnceError):
    """A handler has ended the transaction, or the savepoint, that it was called in.

    No message of the batch is acknowledged. What the handler has committed stays in the database,
    and with it the record that its message, and those before it in the batch, are handled.
    """


class StoreFailedError(OnceError):
    """The database has failed: it is locked, gone or full, or a table is missing.

    The error of its driver is the cause. No message of the batch is acknowledged, and the
    transaction is rolled back, unless COMMIT itself has failed: then it may have happened.
    """


class OpenTransactionError(RuntimeError):
    """Raised by `Transactions.begin` where there is a transaction, which is not ended then."""

    def __init__(self) -> None:
        super().__init__(
            "the connection is in a transaction that something else has begun: commit it first, or "
            "give exactly-once handlers a connection of their own"
        )


class SavepointGoneError(Exception):
    """Raised by `Transactions` where the savepoint of a handler is not there any more."""
