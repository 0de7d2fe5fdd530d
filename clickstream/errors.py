"""The one error that a person is meant to read."""


class UserError(Exception):
    """A sentence for the user: what is wrong, where, and what to do.

    The scripts print it on stderr without a traceback and exit with 1.
    It never carries a secret.
    """


class UsageError(UserError):
    """A command line or a setting that cannot work: exit status 2."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its type if it has no text."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
