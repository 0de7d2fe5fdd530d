"""`python -m clickstream env`, `grant` and `doctor`, as the command line sees them."""

from clickstream import cli
from clickstream.aiven import env, grant
from clickstream.doctor import command as doctor


def register(subparsers: cli.Subparsers) -> None:
    """Add the commands."""
    env.register(subparsers)
    grant.register(subparsers)
    doctor.register(subparsers)
