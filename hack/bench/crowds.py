"""What is measured of many: beside other containers, with other mounts on the host, and several starts at once."""

import ctypes
import os
import random
import subprocess
from pathlib import Path

from lab import Failed
from operations import Exec, Lifecycle, Run, State

MS_BIND, MNT_DETACH = 0x1000, 2


class Keeper:
    """Runs commands whose containers stay: as children of this process, since the stopwatch waits for all of its own."""

    def run(self, command):
        null = subprocess.DEVNULL
        if subprocess.run(command, stdin=null, stdout=null, stderr=null).returncode:
            raise Failed(f"failed: {' '.join(command)}")

    def reap(self):
        """Takes the status of those that have ended."""
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass


class Many:
    """Containers that are created, started, waited for and deleted, some at once. A sample is the whole crowd."""

    key = "many"

    def __init__(self, bench):
        self.lab, self.lifecycle = bench.lab, Lifecycle(bench.lab)
        self.count, self.workers = (40 if bench.options.quick else 200), 4
        self.rounds = 1 if bench.options.quick else 5

    def run(self, bench):
        ready = [program for program in bench.programs if bench.probe(self.lifecycle, program)]
        kind = self.lifecycle.kind
        for program in ready:
            for number in range(self.count):
                if not program.is_floor:
                    self.lab.bundle(program, kind, number=number)
        order, shuffle = list(ready), random.Random(1).shuffle
        for _ in range(self.rounds):
            shuffle(order)
            for program in list(order):
                bench.progress(f"{self.count} containers of {program.name}, {self.workers} at once")
                commands = self.lifecycle.commands(program, number="%")
                try:
                    bench.results.add(self.key, program.name, (self.key, self.count), self.lab.watch.crowd(self.workers, self.count, commands))
                except Failed as failure:
                    bench.results.note(f"{program.name}, {self.key}: {failure}")
                    order.remove(program)


class Axis:
    """The same operations at several points of an axis, which go up and down again, so that a drift of the load is in all."""

    key, points, operations = "", (), ()

    def __init__(self, bench):
        self.lab, self.keeper = bench.lab, Keeper()
        self.runs = max(bench.options.runs // 2, 1)

    def go_to(self, point):
        raise NotImplementedError

    def run(self, bench):
        kinds = [kind(self.lab) for kind in self.operations]
        for kind in kinds:
            kind.keeper = self.keeper
        able = sorted(bench.programs, key=lambda program: program.is_floor)  # its exec needs a container of another
        pairs = [(kind, program) for kind in kinds for program in able if kind.supports(program) and bench.probe(kind, program)]
        shuffle = random.Random(1).shuffle
        try:
            for point in (*self.points, *reversed(self.points)):
                bench.progress(f"{self.key}: {point}")
                self.go_to(point)
                for _ in range(self.runs):
                    shuffle(pairs)
                    for kind, program in pairs:
                        for part, cost in kind.measure(program, 0).items():
                            bench.results.add(part, program.name, (self.key, point), cost)
        except Failed as failure:
            bench.results.note(f"{self.key}: broken off: {failure}")
        finally:
            self.go_to(self.points[0])
            for kind, program in pairs:
                kind.finish(program)
            self.keeper.reap()


class Neighbours(Axis):
    """Beside other containers, which ferrun runs, or else the first peer."""

    key, operations = "containers", (Run, Exec, State, Lifecycle)

    def __init__(self, bench):
        super().__init__(bench)
        self.points = (0, 60) if bench.options.quick else (0, 200, 400, 600)
        self.host = next(program for program in bench.programs if not program.is_floor)
        self.lifecycle = Lifecycle(self.lab)
        self.count = 0

    def go_to(self, point):
        for number in range(self.count, point):
            self.lab.bundle(self.host, "sleep", number=number)
            create, start, _ = self.lifecycle.commands(self.host, "sleep", number)
            self.keeper.run(create)
            self.keeper.run(start)
        for number in range(point, self.count):
            self.keeper.run(self.host.command("delete", "--force", f"{self.host.name}-sleep{number}"))
        self.keeper.reap()
        self.count = point
        running = len(list(self.lab.cgroups.directories(f"{self.host.name}-sleep[0-9]*")))
        if running != point:
            raise Failed(f"{running} containers run instead of {point}")


class Mounts(Axis):
    """With other mounts in the namespace that containers are started from: binds of one directory, below a tmpfs."""

    key, operations = "mounts", (Run,)

    def __init__(self, bench):
        super().__init__(bench)
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.top = self.lab.scratch / "many"
        self.points = (number_of_mounts(), 2000) if bench.options.quick else (number_of_mounts(), 500, 1000, 2000, 4000)

    def go_to(self, point):
        if os.path.ismount(self.top):
            # Detached as a whole: the kernel takes them apart before it returns.
            self.check(self.libc.umount2(bytes(self.top), MNT_DETACH))
        if point <= number_of_mounts():
            return
        self.top.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "ferrun-bench-many", self.top], check=True)
        for number in range(point - number_of_mounts()):
            place = self.top / str(number)
            place.mkdir()
            self.check(self.libc.mount(bytes(place), bytes(place), None, MS_BIND, None))
        if number_of_mounts() != point:
            raise Failed(f"{number_of_mounts()} mounts instead of {point}")

    def check(self, result):
        if result:
            raise Failed(f"mount: {os.strerror(ctypes.get_errno())}")


def number_of_mounts():
    return len(Path("/proc/self/mountinfo").read_text().splitlines())


CROWDS = [Many, Neighbours, Mounts]
