"""The first step of each script, before the imports that take a moment."""

import gc
import os
import signal
import sys

from clickstream import installation

STREAMS = {"stdin": "r", "stdout": "w", "stderr": "w"}


def begin_script(more_packages: "dict[str, str] | None" = None) -> None:
    """Let Ctrl-C end the process without a traceback, and open standard streams that are closed.

    End the process with a sentence if Python is too old or a package is missing.
    more_packages: those that only this script needs, in the form of `installation.PACKAGES`.
    Garbage is not collected until `end_imports`.
    `cli.run` handles Ctrl-C from then on. Ctrl-C stays ignored if the shell ignores it, as it does
    for a job in the background.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    for name, mode in STREAMS.items():
        # If it stayed closed, a connection could get its file descriptor, and with it all output.
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115 - until the end
            setattr(sys, name, stream)
    installation.check(more_packages)
    gc.disable()


def end_imports() -> None:
    """Collect garbage from now on, but not what the imports have created, which is never garbage.

    Python would visit it many times during the imports and once more when the process ends: a
    quarter of the time that a script takes to start and end.
    """
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
