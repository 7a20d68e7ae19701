"""What all tests share."""

import os

from hypothesis import settings

# A busy machine is no bug: properties are held without a time limit. Workers of a parallel run share the
# cores, so each takes one thread; the same value in every process keeps results equal bit for bit.
settings.register_profile("vitreous", deadline=None)
settings.load_profile("vitreous")
os.environ.setdefault("OMP_NUM_THREADS", "1")
