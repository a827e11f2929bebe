"""Run a script: output that never raises, defaults in --help, signals.

Every script ends with ``run_script(main)``.
"""

import argparse
import codecs
import errno
import io
import os
import signal
import sys
import unicodedata
from collections.abc import Callable
from typing import Any, NoReturn

# Plain forms where the encoding of the output lacks a character.
ASCII = {
    "┐": "\\", "│": "|", "┘": "/", "×": "x", "·": "*", "±": "+-", "→": "->", "√": "sqrt",
    "Σ": "sum", "∞": "inf", "‖": "||", "β": "beta", "ε": "eps", "µ": "u", "Δ": "delta",
}  # fmt: skip


class Help(argparse.HelpFormatter):
    """Help that ends with the default of each flag."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text, value = action.help or "", action.default
        if value is None or isinstance(value, bool) or value == argparse.SUPPRESS:
            return text
        if "default:" in text:
            return text
        return f"{text} (default: %(default)s)".strip()


class Output(io.TextIOWrapper):
    """A text stream that drops its output after an error."""

    lost = False

    def write(self, text: str) -> int:
        """Write text, or nothing if the pipe is closed or the disk full."""
        try:
            return super().write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        """Flush, unless the pipe is closed or the disk full."""
        try:
            super().flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        """Send this and all later output nowhere; report a full disk."""
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), self.fileno())
        # The reader of a closed pipe, such as head, has read enough. Windows says EINVAL.
        if error.errno not in (errno.EPIPE, errno.EINVAL):
            self.lost = True
            print(f"the output cannot be written: {error.strerror}", file=sys.stderr)


class Terminated(KeyboardInterrupt):
    """SIGTERM, as sent by schedulers and containers."""


def run_script(main: Callable[[], int | None]) -> NoReturn:
    """Run the `main` of a script and exit with its status.

    After Ctrl-C the status is 130, after SIGTERM 143. The message of an interrupt that `main`
    raises again is printed. The status is 1 if the output could not be written.
    """
    codecs.register_error("plain", plain_form)
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = streams = [safe(stream) for stream in before]
    handler = signal.signal(signal.SIGTERM, terminate)
    try:
        status = main()
    except KeyboardInterrupt as stop:
        cause, status = ("SIGTERM", 143) if isinstance(stop, Terminated) else ("Ctrl-C", 130)
        print("; ".join([f"\nstopped by {cause}", *map(str, stop.args)]), file=sys.stderr)
    finally:
        for stream in streams:
            if isinstance(stream, Output):
                stream.detach()  # flushes
        sys.stdout, sys.stderr = before
        signal.signal(signal.SIGTERM, handler)
    sys.exit(status or int(getattr(streams[0], "lost", False)))


def safe(stream: Any) -> Any:
    """Return a stream that prints to the same place and never raises."""
    if stream is None:  # without a console
        return Output(io.BytesIO(), "utf-8")
    if not isinstance(stream, io.TextIOWrapper):  # of a notebook or an editor
        return stream
    stream.flush()
    # Line by line, so that stdout and stderr keep their order in one pipe.
    return Output(stream.buffer, stream.encoding, "plain", line_buffering=True)


def plain_form(error: UnicodeError) -> tuple[str, int]:
    """Return ASCII for characters that the encoding of the output lacks."""
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    plain = "".join(ASCII.get(char, unicodedata.normalize("NFKD", char)) for char in text)
    return plain.encode("ascii", "replace").decode(), error.end


def terminate(*_: object) -> None:
    """Raise `Terminated`, where a handler of SIGTERM is called."""
    raise Terminated
