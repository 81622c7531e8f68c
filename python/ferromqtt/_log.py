"""The log of a client: the lines that the engine makes, and those about what only Python knows."""

from __future__ import annotations

import asyncio
import logging

from ferromqtt._native import Core

_METHODS = {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warning"}


class LoggingCore(Core):
    """A core that writes lines to a logger. The methods with an underscore are what it calls.

    What a filter or a handler of the logger raises ends neither a call nor the connection.
    """

    logger: logging.Logger
    pending_calls_text: str | None = None
    """Another text for the warning that many calls wait, with a %d for how many."""
    _line_name = ""
    """What tells the lines at DEBUG of this client from those of another one on the same logger."""

    def name_lines(self, identifier: str, address: str) -> None:
        """Let lines at DEBUG begin with the client's name."""
        self._line_name = f"client {identifier!r}" if identifier else f"client of {address}"

    def wants_trace(self) -> bool:
        """Tell whether the logger takes lines at DEBUG."""
        try:
            # An object of the user's that has only `warning` is a logger too.
            enabled = getattr(self.logger, "isEnabledFor", None)
            return enabled is not None and enabled(logging.DEBUG)
        except Exception as error:  # noqa: BLE001 - whatever the user's code raises
            self.report("logging raised", error)
            return False

    def _write_line(self, level: int, text: str) -> None:
        """Write a line of the engine's."""
        named = f"{self._line_name}: {text}" if level == logging.DEBUG else text
        self._log(level, "%s", named)

    def _log(self, level: int, text: str, *args: object) -> None:
        try:
            # As above: an object may have no other method than `warning`.
            write = getattr(self.logger, _METHODS[level], None)
            if write is not None:
                write(text, *args)
        except Exception as error:  # noqa: BLE001 - whatever the user's code raises
            self.report("logging raised", error)

    def warn(self, text: str, *args: object) -> None:
        """Write a warning."""
        self._log(logging.WARNING, text, *args)

    def warn_of_repeating(self, text: str, *args: object, times: int = 1) -> None:
        """Write a warning of what may repeat, and occurred `times` times now.

        The engine counts it as it does its own lines: the first is written, and at each doubling
        how often. What is left out is reported when the connection ends, or with `reconnect` when
        the next one is made.
        """
        total = self.count_line(text % args, times)
        if total == 1:
            self.warn(text, *args)
        elif total is not None:
            self.warn(f"{text} (%d times so far)", *args, total)

    def log_failure(self, text: str, *args: object, error: BaseException) -> None:
        """Write an error of the program's own code, with its traceback."""
        try:
            # As above: an object may have no other method than `warning`.
            write = getattr(self.logger, "error", self.logger.warning)
            write(text, *args, exc_info=error)
        except Exception as raised:  # noqa: BLE001 - whatever the user's code raises
            self.report("logging raised", raised)

    def report(self, what: str, error: BaseException) -> None:
        """Report to the loop's exception handler what went wrong where no caller can learn of it.

        What repeats is counted, as by `warn_of_repeating`.
        """
        total = self.count_line(f"{what} ({type(error).__name__})", 1)
        if total is None:
            return
        often = "" if total == 1 else f" ({total} times so far)"
        context = {"message": f"ferromqtt: {what}{often}", "exception": error, "protocol": self}
        loop = getattr(self, "loop", None) or asyncio.get_running_loop()  # never entered
        loop.call_exception_handler(context)

    def _on_lost(self, count: int) -> None:
        text = "Message queue is full. Discarding message."  # aiomqtt's
        self.warn_of_repeating(text)
        if count > 1:
            self.warn_of_repeating(text, times=count - 1)

    def _on_pending_calls(self, count: int) -> None:
        if self.pending_calls_text is not None:
            self.warn(self.pending_calls_text, count)
        else:
            threshold = self.pending_calls_threshold
            text = "%d calls wait for the server (pending_calls_threshold=%d)."
            self.warn(text, count, threshold)

    def _on_backlog(self, messages: int, size: int) -> None:
        self.warn(
            "%d received messages wait to be taken, which take %d MiB. The queue has no limit of "
            "memory: take messages as fast as they come, or let fewer of them wait "
            "(max_queued_incoming_messages).",
            messages,
            size >> 20,
        )
