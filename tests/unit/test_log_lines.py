"""A log line and an error are one line, whatever text is in them."""

import json
import logging
from collections.abc import Iterator

import pytest

from clickstream import cli

HOSTILE = "x\r\n2025-06-02T10:00:00+0000 ERROR forged\x1b[2J\x9b31m\u202e\u2028"


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_text_in_a_log_call_neither_splits_the_line_nor_controls_a_terminal(
    log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.start_logging(log_format)
    fields = {"reason": HOSTILE}
    logging.getLogger("clickstream.test").warning("read %s", HOSTILE, extra={"fields": fields})
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert not set(printed[:-1]) & set("\r\n\x1b\x9b\u202e\u2028")
    if log_format == "json":
        assert json.loads(printed)["reason"] == HOSTILE


def test_a_text_in_an_error_neither_splits_the_line_nor_controls_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    cli.print_error(f"no session of visitor {HOSTILE}")
    printed = capsys.readouterr().err
    assert printed.startswith("error: no session of visitor x")
    assert printed.count("\n") == 1
    assert not set(printed[:-1]) & set("\r\n\x1b\x9b\u202e\u2028")
