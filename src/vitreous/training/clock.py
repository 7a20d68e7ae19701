"""How long a run has taken, how long it will, and when it was last saved."""

from time import monotonic


class Clock:
    """Wall-clock time of a run; it decides when to save, and nothing of the outcome."""

    def __init__(self) -> None:
        self.begun = self.save_time = monotonic()
        self.first_step = self.step = 0
        self.first_tick: float | None = None

    def start(self, step: int) -> None:
        """Training begins now, at ``step``."""
        self.begun = self.save_time = monotonic()
        self.first_step = self.step = step

    def tick(self, step: int) -> None:
        """A step is done. The first one warms up and is not counted in the speed."""
        self.step = step
        if self.first_tick is None:
            self.first_tick, self.first_step = monotonic(), step

    def seconds(self) -> float:
        """Since the start."""
        return monotonic() - self.begun

    def _pace(self) -> float | None:
        if self.first_tick is None or self.step <= self.first_step:
            return None
        return (monotonic() - self.first_tick) / (self.step - self.first_step)

    def left(self, steps: int) -> float | None:
        """Seconds that so many more steps will take, if they can be told yet."""
        pace = self._pace()
        return None if pace is None else pace * steps

    def speed(self, batch: int) -> float | None:
        """Training pictures a second, judging and saving included."""
        pace = self._pace()
        return None if pace is None else batch / pace

    def saved(self) -> None:
        """A save is done."""
        self.save_time = monotonic()

    def since_save(self) -> float:
        """Seconds since the last save."""
        return monotonic() - self.save_time
