from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.attacks.network import Network, walled_in


@pytest.fixture(scope="module", autouse=True)
def network() -> Iterator[Network]:
    """The network as these tests have it: nothing of them leaves this machine."""
    with walled_in() as network:
        yield network
