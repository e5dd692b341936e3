"""Sites for the tests of workers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests import servers
from tests.integration.workers.site import Site, site


@pytest.fixture(scope="module")
def module_site(module_database_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site on Valkey for the tests of one module, which start its processes."""
    servers.flush(valkey_url)
    with site(module_database_url, valkey_url, tmp_path_factory.mktemp("site")) as made:
        yield made
