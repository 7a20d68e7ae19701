"""SIGINT and SIGTERM: the step in progress is finished, the state is saved, then the run ends."""

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

import torch
from torch import distributed

from vitreous.training.distributed import World

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 75}  # 75: temporary failure, try again


class Signals:
    """While this is entered a signal is remembered, not obeyed; a second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self.received = 0
        self.previous: dict[signal.Signals, Callable[..., Any] | int | None] = {}

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            for number in EXIT_CODES:
                self.previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = EXIT_CODES[signal.Signals(number)]

    def share(self, loss: float, world: World) -> tuple[float, int]:
        """The mean loss over all processes, and the exit code that a signal to any of them asks for (0:
        none). One exchange a step, so that all processes stop after the same one."""
        if world.size == 1:
            return loss, self.received
        codes = list(EXIT_CODES.values())
        asked = [float(self.received == code) for code in codes]
        values = torch.tensor([loss, *asked], dtype=torch.float64, device=world.device)
        distributed.all_reduce(values)
        total, *counts = values.tolist()
        code = next((code for code, count in zip(codes, counts, strict=True) if count), 0)
        return total / world.size, code
