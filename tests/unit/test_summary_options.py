"""Options of summary.py that cannot work are refused with one sentence and exit status 2."""

from pathlib import Path

import pytest

import summary

SESSION = "00000000-0000-0000-0000-000000000000"
NO_FORM = "--html and --watch cannot be combined with --session, --visitor, --verify, --compare"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--html", "x.html", "--verify"], NO_FORM),
        (["--html", "x.html", "--compare", "t.json"], NO_FORM),
        (["--watch", "--session", SESSION], NO_FORM),
        (["--watch", "--visitor", "a"], NO_FORM),
        (["--watch", "--what-if-timeout", "0.5s"], NO_FORM),
        (["--json", "--verify"], "--json cannot be combined with --verify, --compare"),
        (["--since", "1h", "--verify"], "--since cannot be combined with --session, --visitor"),
        (["--since", "1h", "--visitor", "a"], "--since cannot be combined with --session"),
        (["--since", "1h", "--session", SESSION], "--since cannot be combined with --session"),
        (["--json", "--watch"], "argument --watch: not allowed with argument --json"),
        (["--verify", "--what-if-timeout", "1h"], "not allowed with argument --verify"),
        (["--watch"], "--watch needs a terminal"),
        (["--watch", "--since", "1h"], "--watch shows the last hour and cannot be combined with"),
        (["--session", "1"], "argument --session: invalid UUID value"),
        (["--since", "yesterday"], "'yesterday' is neither a duration such as 1.5h or 7d nor a"),
        (["--what-if-timeout", "0s"], "'0s' is not a duration such as 45s, 90m, 1.5h or 7d"),
    ],
)
def test_options_that_cannot_work_are_misuse(
    arguments: list[str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert exit_status(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert sentence in " ".join(printed.err.split())
    assert "Traceback" not in printed.err


def exit_status(arguments: list[str]) -> object:
    try:
        return summary.main(arguments)
    except SystemExit as ended:
        return ended.code
