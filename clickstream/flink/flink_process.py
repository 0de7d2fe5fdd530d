"""A Java process that runs Flink, and the calls of Flink's Java classes in it."""

import importlib.util
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clickstream.errors import UserError
from clickstream.flink.java_runtime import find_java

END_SECONDS = 30.0
INSTALL = "install it with: python -m pip install -r requirements-flink.txt"
# As in Flink's own configuration for Java 17.
OPENED_PACKAGES = (
    *("java.lang", "java.net", "java.io", "java.nio", "java.lang.reflect", "java.text"),
    *("java.time", "java.util", "java.util.concurrent", "java.util.concurrent.atomic"),
    "java.util.concurrent.locks",
)
JAVA_OPTIONS = (
    "-Xmx2g",
    "-Duser.timezone=UTC",  # times of Kafka records are read, and times written, in this zone
    *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED_PACKAGES),
)
LOGGING = """
status=error
appender.file.type=File
appender.file.name=file
appender.file.fileName={log}
appender.file.append=false
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d %p %c - %m%n
logger.metrics.name=org.apache.flink.metrics.MetricGroup
logger.metrics.level=error
rootLogger.level=warn
rootLogger.appenderRef.file.ref=file
"""


class FlinkError(UserError):
    """An error that Flink reports: the statement or the job failed."""


class Job:
    """A running job."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._result = client.getJobExecutionResult()

    def is_done(self) -> bool:
        """Return True if the job has ended, or has failed. Raises FlinkError without Java."""
        with explained_by_flink("the state of the Flink job is unknown"):
            return bool(self._result.isDone())

    def is_restarting(self) -> bool:
        """Return True if the job has failed and Flink starts it again. Raises FlinkError."""
        with explained_by_flink("the state of the Flink job is unknown"):
            return str(self._client.getJobStatus().get().toString()) == "RESTARTING"

    def check(self) -> None:
        """Raise FlinkError if the job failed. It must be done."""
        with explained_by_flink("the Flink job failed"):
            self._result.get()

    def stop(self, java: Any, savepoints: Path) -> None:
        """Stop the job with a savepoint, from which a later run continues."""
        form = java.org.apache.flink.core.execution.SavepointFormatType.CANONICAL
        with explained_by_flink("the Flink job was not stopped with a savepoint"):
            self._client.stopWithSavepoint(False, savepoints.absolute().as_uri(), form).get()


@contextmanager
def running_flink(jars: Sequence[Path], folder: Path) -> Iterator[Any]:
    """Yield the Java classes of a process with Flink; the process ends with the context.

    jars: the connectors. folder: for flink.log, and for flink.out with what Java itself prints.
    Raises UserError if Java or a part of Flink is missing.
    """
    try:
        from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway
    except ImportError:
        raise UserError(f"the package py4j is missing, which calls Flink; {INSTALL}") from None
    java, classpath = find_java(), ":".join(map(str, [*_flink_jars(), *jars]))
    configuration = folder / "log4j2.properties"
    configuration.write_text(LOGGING.format(log=(folder / "flink.log").absolute()))
    output = (folder / "flink.out").open("w", encoding="utf-8")
    try:
        port, token, process = launch_gateway(
            classpath=classpath,
            javaopts=[*JAVA_OPTIONS, f"-Dlog4j2.configurationFile={configuration.absolute()}"],
            java_path=java,
            die_on_exit=True,  # it ends when its standard input is closed
            enable_auth=True,
            create_new_process_group=True,  # Ctrl-C is for this process, which stops the job
            redirect_stderr=output,
            return_proc=True,
        )
    except ValueError:  # no port was printed
        output.close()
        raise FlinkError(f"Java did not start; its output is in {output.name}") from None
    try:
        # Otherwise it releases Java's objects at its end, when there is no Java any more.
        parameters = GatewayParameters(port=port, auth_token=token, enable_memory_management=False)
        yield JavaGateway(gateway_parameters=parameters).jvm
    finally:
        _end(process)
        output.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin:
        process.stdin.close()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _flink_jars() -> list[Path]:
    """Return the jars of the package apache-flink-libraries."""
    found = importlib.util.find_spec("pyflink")
    for folder in (found.submodule_search_locations or []) if found else []:
        if jars := sorted(Path(folder, "lib").glob("*.jar")):
            return jars
    raise UserError(f"the package apache-flink-libraries is missing; {INSTALL}")


def submit(java: Any, configuration: Mapping[str, str], statements: Sequence[str]) -> Job:
    """Run the statements, the last of which starts a job, and return the job. Raises FlinkError."""
    options = java.org.apache.flink.configuration.Configuration()
    for name, value in configuration.items():
        options.setString(name, value)
    table = java.org.apache.flink.table.api
    settings = table.EnvironmentSettings.newInstance().inStreamingMode()
    environment = table.TableEnvironment.create(settings.withConfiguration(options).build())
    with explained_by_flink("Flink refuses the SQL of flink/"):
        for statement in statements:
            result = environment.executeSql(statement)
    return Job(result.getJobClient().get())


@contextmanager
def explained_by_flink(what: str) -> Iterator[None]:
    """Raise FlinkError in place of a Java exception, with the first line of its last cause."""
    from py4j.protocol import Py4JJavaError, Py4JNetworkError

    try:
        yield
    except Py4JNetworkError:
        raise FlinkError("the Java process of Flink has ended; see .flink/flink.out") from None
    except Py4JJavaError as error:
        cause = error.java_exception
        while cause.getCause() is not None:
            cause = cause.getCause()
        line = str(cause.toString()).splitlines()[0]
        raise FlinkError(f"{what} ({line}); its log is .flink/flink.log") from None
