"""What all tests share."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

# A busy machine is no bug: properties are held without a time limit. Workers of a parallel run share the
# cores, so each takes one thread; the same value in every process keeps results equal bit for bit.
settings.register_profile("vitreous", deadline=None)
settings.load_profile("vitreous")
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def kept_apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is kept on the disk does not come from, or go to, whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VITREOUS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
