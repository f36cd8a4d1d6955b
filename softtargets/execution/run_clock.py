"""The clock of a run: what it takes, and how much of that are trainings, which other runs share."""

import datetime
import time


class RunClock:
    """Counts wall and CPU seconds from its making on."""

    def __init__(self):
        self.started = datetime.datetime.now(datetime.UTC)
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        self.trainings_s = self.trainings_cpu_s = 0.0
        """Of the models that this run trained; what the store holds takes none."""

    def trained(self, seconds: float, cpu_seconds: float) -> None:
        """Add a training."""
        self.trainings_s += seconds
        self.trainings_cpu_s += cpu_seconds

    def took(self) -> dict[str, float]:
        """Return the seconds so far, as in the `cost` of a result."""
        return {
            "run_s": time.perf_counter() - self._wall,
            "run_cpu_s": time.process_time() - self._cpu,
            "trainings_s": self.trainings_s,
            "trainings_cpu_s": self.trainings_cpu_s,
        }
