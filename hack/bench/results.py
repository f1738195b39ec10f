"""What was measured, and what is asked about it."""

from statistics import median, quantiles

MODES = ("back", "spaced")
MODE_NAMES = {"back": "back to back", "spaced": "40 ms apart"}
WHATS = {"wall": "wall time", "cpu": "CPU time"}
UNITS = {"wall": 1e6, "cpu": 1e3, "peak": 1024, "faults": 1}  # what of a cost is a millisecond, a MiB, a fault
TITLES = {
    "run": "run /bin/true",
    "run-empty": "run, empty program",
    "run-seccomp": "run, Docker's seccomp",
    "lifecycle": "create + start + delete",
    "create": "  create",
    "start": "  start",
    "delete": "  delete",
    "state": "state",
    "kill": "kill",
    "exec": "exec /bin/true",
    "exec-empty": "exec, empty program",
    "exec-seccomp": "exec, Docker's seccomp",
    "many": "containers created, started and deleted, 4 at once",
}
YARDSTICK = {"run-seccomp": "run"}  # the floor has no filter there: its plain run is what it is compared with


class Results:
    """samples[part][program][mode] is a list of costs, calls[part][program] a number of system calls. A mode is one of
    MODES, or a measurement of crowds.py with its point."""

    def __init__(self, programs):
        self.programs = programs
        self.samples, self.calls, self.limits = {}, {}, {}
        self.missing = {}  # (part, program) -> why
        self.notes = {}  # text -> how often

    def note(self, text):
        self.notes[text] = self.notes.get(text, 0) + 1

    def add(self, part, program, mode, cost):
        self.samples.setdefault(part, {}).setdefault(program, {}).setdefault(mode, []).append(cost)

    def costs(self, part, program, mode):
        return self.samples.get(part, {}).get(program, {}).get(mode, [])

    def value(self, part, program, mode, what):
        """The median in milliseconds (peak: MiB), or None."""
        costs = self.costs(part, program, mode)
        return median(getattr(cost, what) for cost in costs) / UNITS[what] if costs else None

    def over_modes(self, part, program, what):
        costs = [cost for mode in MODES for cost in self.costs(part, program, mode)]
        return median(getattr(cost, what) for cost in costs) / UNITS[what] if costs else None

    def peak(self, part, program):
        return self.over_modes(part, program, "peak")

    def faults(self, part, program):
        return self.over_modes(part, program, "faults")

    def base(self, part, mode, what):
        """What this part is compared with: the floor, or crun where the floor has no such command."""
        value = self.value(YARDSTICK.get(part, part), "floor", mode, what)
        return value or self.value(part, "crun", mode, what)

    def ratio(self, part, program, mode, what):
        value, base = self.value(part, program, mode, what), self.base(part, mode, what)
        return value / base if value and base else None

    def parts(self):
        """Those of the table, in its order."""
        measured = {part for part, programs in self.samples.items() for modes in programs.values() if MODES[0] in modes}
        return [part for part in TITLES if part in measured or any(key[0] == part for key in self.missing)]

    def points(self, axis, part="run"):
        """Where on an axis of crowds.py this was measured."""
        modes = {mode for modes in self.samples.get(part, {}).values() for mode in modes}
        return sorted(mode[1] for mode in modes if isinstance(mode, tuple) and mode[0] == axis)

    def growth(self, part, program, axis, last=None):
        """CPU time at a point of an axis, or at its end, over that at its beginning."""
        points = self.points(axis, part)
        if len(points) < 2 or last not in (None, *points):
            return None
        low, high = (self.value(part, program, (axis, point), "cpu") for point in (points[0], last or points[-1]))
        return high / low if low and high else None

    def as_json(self, facts):
        out = {"facts": facts, "notes": self.notes, "limits_bytes": self.limits, "operations": {}}
        for part in TITLES:
            for program in self.programs:
                row = {name(mode): self.spread(costs) for mode, costs in self.samples.get(part, {}).get(program, {}).items()}
                if row:
                    row["system_calls"] = self.calls.get(part, {}).get(program)
                if (part, program) in self.missing:
                    row["missing"] = self.missing[part, program]
                if row:
                    out["operations"].setdefault(part, {})[program] = row
        return out

    def spread(self, costs):
        out = {"runs": len(costs), "peak_mib": median(cost.peak for cost in costs) / UNITS["peak"]}
        out["page_faults"] = median(cost.faults for cost in costs)
        for what in WHATS:
            values = sorted(getattr(cost, what) / UNITS[what] for cost in costs)
            tenths = quantiles(values, n=10) if len(values) > 1 else values * 9
            out[f"{what}_ms"] = {"median": median(values), "p10": tenths[0], "p90": tenths[-1], "min": values[0]}
        return out


def name(mode):
    return mode if isinstance(mode, str) else f"{mode[1]} {mode[0]}"
