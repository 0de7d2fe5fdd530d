"""What tests without and with services share."""

import pytest
from pki import Authority


@pytest.fixture(scope="session")
def authority() -> Authority:
    """The certification authority that the settings name."""
    return Authority("the project's CA")
