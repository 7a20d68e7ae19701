"""Every row of the ledger, family by family."""

from tests.parity import (
    cases_beit,
    cases_convnet,
    cases_deit,
    cases_detr,
    cases_dinov2,
    cases_dinov3,
    cases_dvae,
    cases_mae,
    cases_segformer,
    cases_swin,
    cases_upernet,
    cases_vit,
    cases_yolos,
)
from tests.parity.case import Case

CASES: tuple[Case, ...] = (
    *cases_vit.CASES,
    *cases_dinov2.CASES,
    *cases_dinov3.CASES,
    *cases_mae.CASES,
    *cases_swin.CASES,
    *cases_deit.CASES,
    *cases_beit.CASES,
    *cases_upernet.CASES,
    *cases_detr.CASES,
    *cases_yolos.CASES,
    *cases_segformer.CASES,
    *cases_dvae.CASES,
    *cases_convnet.CASES,
)
