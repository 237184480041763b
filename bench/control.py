"""The control: a loop that is the same in every run, on no peer's account, so that its spread is the machine's own."""

import time

import numpy as np

from bench import runner


class Task:
    """Lives in a worker of its own, beside the peers."""

    def __init__(self, peer):
        self.x = np.linspace(-1, 1, 50_000, dtype=np.float32)
        self.y = np.empty_like(self.x)

    def turn(self, steps):
        """Microseconds of each loop: arithmetic that NumPy does on one thread, in memory that fits the second cache."""
        return runner.timed(self._loop, steps)

    def _loop(self):
        for _ in range(200):  # about 1.5 ms: as long as a real step, so that what interrupts one interrupts the other
            np.multiply(self.x, self.x, out=self.y)
            np.add(self.y, self.x, out=self.y)
            np.abs(self.y, out=self.y)

    def peak(self, seconds, size=1024):
        """GFLOP/s of the fastest of many large float32 products: what a good BLAS gets out of one thread."""
        a = np.ones((size, size), np.float32)
        out = np.empty_like(a)
        best, until = np.inf, time.perf_counter() + seconds
        while time.perf_counter() < until:
            best = min(best, *runner.timed(lambda: np.matmul(a, a, out=out), 3))
        return 2 * size**3 / best / 1e3
