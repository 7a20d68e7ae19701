"""Advice as plain values, for machines and for the page."""

from pathlib import Path
from typing import Any

from vitreous.training.advisor.advise import Advice, Needs, Row
from vitreous.training.advisor.verdict import Interval

RUNS = Path("runs")  # where the commands to go on with put their runs


def to_plain(advice: Advice) -> dict[str, Any]:
    """JSON values; shares from 0 to 1, seconds and bytes."""
    rows = [_row(row, advice.data) for row in advice.rows]
    chosen = next((row for row in rows if row["candidate"] == advice.recommended), None)
    return {
        "data": advice.data,
        "how": advice.how,
        "pictures": advice.pictures,
        "folds": advice.folds,
        "seconds": round(advice.seconds, 1),
        "recommended": advice.recommended,
        "why": advice.why,
        "command": chosen["command"] if chosen else None,
        "candidates": rows,
    }


def _row(row: Row, data: str) -> dict[str, Any]:
    return {
        "candidate": row.candidate.key,
        "title": row.candidate.title,
        "ladder": row.candidate.ladder,
        "status": row.status,
        "why": row.why,
        "accuracy": _interval(row.accuracy),
        "behind": _interval(row.behind),
        "beaten": row.behind is not None and row.behind.low > 0,
        "seconds": round(row.seconds, 1),
        "epochs": list(row.epochs),
        "forecast": _needs(row.forecast),
        "measured": _needs(row.measured),
        "command": row.candidate.command(data, RUNS),
    }


def _interval(found: Interval | None) -> dict[str, float] | None:
    return None if found is None else found._asdict()


def _needs(needs: Needs) -> dict[str, Any]:
    return {"peak_bytes": needs.peak_bytes, "epoch_seconds": list(needs.epoch_seconds)}
