"""Settings with PEM text, as a file or as text, and the mode of a key file."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from clickstream.errors import RefusedError, UserError

GET_AGAIN = "get it again (on Aiven: python -m clickstream env)"
LET_READ = "let the user that runs this program read it, with: sudo chown $(id -un)"


@dataclass(frozen=True, slots=True)
class Pem:
    """A setting with PEM text, or with the path of a file that holds it."""

    setting: str
    value: str
    is_text: bool = False

    @property
    def name(self) -> str:
        """The path of the file, or the name of the setting that holds the text."""
        return self.setting if self.is_text else self.value

    @property
    def origin(self) -> str:
        """The name with its setting, for errors."""
        return self.setting if self.is_text else f"{self.value} of {self.setting}"

    def read(self) -> bytes:
        """Return the PEM text. Raises RefusedError if the file cannot be read."""
        if self.is_text:
            return self.value.encode()
        try:
            return Path(self.value).read_bytes()
        except OSError as error:
            denied = isinstance(error, PermissionError)
            remedy = f"{LET_READ} {self.value}" if denied else GET_AGAIN
            raise RefusedError(
                f"the file {self.origin} cannot be read ({error.strerror}); {remedy}"
            ) from None


def check_mode(pem: Pem) -> str:
    """Return the mode of a key file. Raises UserError if other users can read it."""
    if os.name != "posix":
        return "not checked on this system"
    mode = stat.S_IMODE(Path(pem.value).stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UserError(
            f"the file {pem.origin} has mode {mode:04o}: other users can read the key; "
            f"run: chmod 600 {pem.value}"
        )
    return f"{mode:04o}"
