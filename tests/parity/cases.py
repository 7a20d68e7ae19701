"""Every row of the ledger, family by family."""

from tests.parity import cases_vit
from tests.parity.case import Case

CASES: tuple[Case, ...] = (*cases_vit.CASES,)
