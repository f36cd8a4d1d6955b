"""The clock of a run: what it takes, and how much of that fills the store, which other runs share."""

import datetime
import time


class RunClock:
    """Counts wall and CPU seconds from its making on."""

    def __init__(self):
        self.started = datetime.datetime.now(datetime.UTC)
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        self.trainings_s = self.trainings_cpu_s = 0.0
        """Of the models that this run trained; what the store holds takes none."""
        self.stored_s = self.stored_cpu_s = 0.0
        """Of all else that this run put into the store: predictions, targets, and writing the models there."""

    def trained(self, seconds: float, cpu_seconds: float) -> None:
        """Add a training."""
        self.trainings_s += seconds
        self.trainings_cpu_s += cpu_seconds

    def beside(self) -> tuple[float, float]:
        """Return the wall and CPU seconds so far beside trainings and what was put into the store."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return wall - self.trainings_s - self.stored_s, cpu - self.trainings_cpu_s - self.stored_cpu_s

    def stored(self, since: tuple[float, float]) -> None:
        """Count what was taken beside since `beside()` returned `since` as that of a new entry of the store."""
        wall, cpu = self.beside()
        self.stored_s += wall - since[0]
        self.stored_cpu_s += cpu - since[1]

    def took(self) -> dict[str, float]:
        """Return the seconds so far, as in the `cost` of a result."""
        return {
            "run_s": time.perf_counter() - self._wall,
            "run_cpu_s": time.process_time() - self._cpu,
            "trainings_s": self.trainings_s,
            "trainings_cpu_s": self.trainings_cpu_s,
            "stored_s": self.stored_s,
            "stored_cpu_s": self.stored_cpu_s,
        }
