"""Standard output of `python -m ferromqtt`, which may be closed or full."""

from __future__ import annotations

import errno
import os
import sys


def write_line(line: str) -> bool:
    """Write a line to standard output; if that fails, say so on standard error."""
    output = sys.stdout
    problem = OSError(errno.EBADF, os.strerror(errno.EBADF))
    if output is not None:  # None: it was closed when the program began
        try:
            output.write(f"{line}\n")
            output.flush()
        except OSError as error:
            problem = error
            # The interpreter flushes it again as it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())
        else:
            return True
    sys.stderr.write(f"ferromqtt: cannot write to standard output: {problem}: {line}\n")
    return False
