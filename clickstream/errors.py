"""Errors that a user reads: one sentence, without a traceback."""


class UserError(Exception):
    """An error that a user can cause. Its text says what is wrong, where, and what to do.

    The scripts print the text to stderr and exit with 1. It never contains a secret.
    """


class UsageError(UserError):
    """A wrong command line or setting. The scripts exit with 2."""


class RefusedError(UserError):
    """An error of certificates or credentials, which waiting for the server does not cure."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its type if it has no text."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
