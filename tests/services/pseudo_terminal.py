"""A script in a pseudo-terminal: what it shows, screen by screen, at any size."""

import fcntl
import os
import re
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping
from pathlib import Path

from tests.services.scripts import plain_environment

TEXT_STYLES = re.compile(r"\x1b\[[0-9;]*m")
HOME = "\x1b[H"
SHOW_CURSOR, LEAVE_SCREEN = "\x1b[?25h", "\x1b[?1049l"


class PseudoTerminal:
    """A script whose standard streams are a terminal of this size."""

    def __init__(
        self, line: list[str], environment: Mapping[str, str], folder: Path, size: tuple[int, int]
    ) -> None:
        self._outside, self._inside = os.openpty()
        self.resize(size)
        self._modes = termios.tcgetattr(self._inside)
        self.process = subprocess.Popen(
            line,
            env=plain_environment({"TERM": "xterm-256color", **environment}),
            cwd=folder,
            stdin=self._inside,
            stdout=self._inside,
            stderr=self._inside,
        )
        self._printed = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def resize(self, size: tuple[int, int]) -> None:
        """Set the number of columns and lines."""
        width, self._height = size
        packed = struct.pack("HHHH", self._height, width, 0, 0)
        fcntl.ioctl(self._inside, termios.TIOCSWINSZ, packed)

    @property
    def printed(self) -> str:
        """Everything that was printed so far, without colors."""
        return TEXT_STYLES.sub("", self._printed.decode(errors="replace"))

    @property
    def screen(self) -> list[str]:
        """The lines of the last screen that was drawn completely."""
        *before, last = self.printed.split(HOME)
        lines = last.split("\r\n")
        if len(lines) < self._height and len(before) > 1:
            return before[-1].split("\r\n")
        return lines if before else []

    @property
    def is_restored(self) -> bool:
        """True if the script left its screen, shows the cursor, and the modes are as before."""
        printed = self.printed
        return (
            printed.rfind(SHOW_CURSOR) > printed.rfind("\x1b[?25l")
            and printed.rfind(LEAVE_SCREEN) > printed.rfind("\x1b[?1049h")
            and termios.tcgetattr(self._inside) == self._modes
        )

    def close(self) -> None:
        """End the script if it is running, and close the terminal."""
        self.process.kill()
        self.process.wait()
        os.close(self._inside)
        self._reader.join()
        os.close(self._outside)

    def _read(self) -> None:
        while True:
            try:
                read = os.read(self._outside, 65_536)
            except OSError:  # Linux reports the end like this
                return
            if not read:
                return
            self._printed += read
