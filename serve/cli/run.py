"""From a command line to an exit code: whatever happens on the way, the user gets one clear message."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import typer

from lexhound.core.compilation import on_compiling

from .app import command_line
from .interruption import Stopped
from .output import Output, tell, tell_failure

INTERRUPTED = 130  # as in serve.errors, which would load every room
DEBUG = "LEXHOUND_DEBUG"
"""Environment variable: set to anything but 0, failures come with their Python traceback."""


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    _prepare_streams()
    on_compiling(_tell_compiling)
    try:
        code = _invoke(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        code = _reader_gone()
    except SystemExit as error:
        # Typer and rich turn a pipe that its reader closed (`| head`) into an exit.
        code = _reader_gone() if isinstance(error.__context__, BrokenPipeError) else _code(error)
    except OSError as error:  # standard output could not take the rest
        code = _tell_exception(error, json=False)
    return code


def _invoke(arguments: Sequence[str]) -> int:
    json = "--json" in (arguments[: arguments.index("--")] if "--" in arguments else arguments)
    try:
        result = command_line(arguments)(list(arguments), prog_name="lexhound", standalone_mode=False)
        code = result if isinstance(result, int) else 0
        if code == INTERRUPTED:  # what Typer makes of Ctrl-C in a command that changes nothing
            tell("interrupted")
        return code
    except BrokenPipeError:
        raise
    except Stopped as error:
        tell_failure(error.message, None, error.hint, label="interrupted")
        return INTERRUPTED
    except typer.TyperException as error:
        return _tell_usage(error, json=json)
    except Exception as error:  # noqa: BLE001  the one place where everything ends
        return _tell_exception(error, json=json)


def _tell_compiling(what: str, seconds: int) -> None:
    tell(f"compiling the {what}, once on this machine: usually {seconds} s (`lexhound warm` does it ahead)")


def _tell_usage(error: typer.TyperException, *, json: bool) -> int:
    """Return a command line that Typer could not make sense of."""
    message = error.format_message().rstrip().replace(": Value error, ", ": ")
    context = getattr(error, "ctx", None)
    command = getattr(context, "command_path", "lexhound")
    if not message:  # no arguments at all: the help has been printed
        return error.exit_code
    hint = _other_name(error, context)
    if hint is not None:
        message = message.partition(" (Possible")[0]
    hint = hint or f"`{command} --help` shows what is possible"
    tell_failure(message[0].lower() + message[1:].rstrip("."), None, hint)
    if json:
        failure = {"code": "usage", "message": message, "where": None, "hint": hint}
        Output(json=True).document({"error": failure})
    return error.exit_code


# What other programs, and other doors of ours, call an option; of ours, the first that the command has counts.
_OTHER_NAMES = {
    **dict.fromkeys(("--limit", "--top-k", "--topk", "--top", "-n", "--size", "--num"), ("-k", "--cutoff")),
    **dict.fromkeys(("--where", "--filters"), ("--filter",)),
    **dict.fromkeys(("--output", "--out", "--index", "-o"), ("--into", "--out")),
    **dict.fromkeys(("--model",), ("--encoder",)),
    **dict.fromkeys(("--explanation", "--why"), ("--explain",)),
    **dict.fromkeys(("--force", "--replace"), ("--overwrite",)),
    **dict.fromkeys(("--skip", "--from", "--start"), ("--offset",)),
    **dict.fromkeys(("--hybrid", "--lexical", "--sparse"), ("--mode",)),
}


def _other_name(error: typer.TyperException, context: Any) -> str | None:
    """Return the option that was meant, where one was given by a name that others use for it."""
    given = getattr(error, "option_name", None)
    known = {name for each in getattr(getattr(context, "command", None), "params", ()) for name in each.opts}
    meant = next((name for name in _OTHER_NAMES.get(str(given), ()) if name in known), None)
    return None if meant is None else f"did you mean {meant}?"


def _tell_exception(error: Exception, *, json: bool) -> int:
    """Return an exception of the library, or one that nobody expected."""
    from lexhound.core.errors import FAILED
    from lexhound.serve.errors import Failure, describe_failure

    failure = describe_failure(error)
    if failure is None:
        hint = f"this is a fault of Lexhound: set {DEBUG}=1 and run it again for a traceback to report"
        failure = Failure("internal", f"{type(error).__name__}: {error}", None, hint, FAILED)
    if os.environ.get(DEBUG, "0") not in {"", "0"}:
        import traceback

        tell("".join(traceback.format_exception(error)).rstrip())
    tell_failure(failure.message, failure.where, failure.hint)
    if json:
        Output(json=True).document(failure.to_json())
    return failure.exit_code


def _prepare_streams() -> None:
    """Replace characters that the terminal's encoding lacks: no text of a document may end a command."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")


def _reader_gone() -> int:
    """Return the reader of our output had what it wanted: nothing to tell, and nothing more to write at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(null, stream.fileno())
    os.close(null)
    return 0


def _code(error: SystemExit) -> int:
    return error.code if isinstance(error.code, int) else 1 if error.code else 0
