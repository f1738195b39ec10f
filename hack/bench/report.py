"""The table, the acceptance figures and the plot."""

from html import escape
from statistics import median, quantiles

MODES = ("back", "spaced")
MODE_NAMES = {"back": "back to back", "spaced": "40 ms apart"}
WHATS = {"wall": "wall time", "cpu": "CPU time"}
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
}


class Results:
    """samples[part][program][mode] is a list of costs; counts[part][program] of system calls."""

    def __init__(self, programs):
        self.programs = programs
        self.samples, self.calls, self.limits = {}, {}, {}
        self.yardstick = {}  # part -> the floor's part that it is compared with
        self.missing = {}  # (part, program) -> why
        self.notes = {}  # text -> how often

    def note(self, text):
        self.notes[text] = self.notes.get(text, 0) + 1

    def add(self, part, program, mode, cost):
        self.samples.setdefault(part, {}).setdefault(program, {}).setdefault(mode, []).append(cost)

    def value(self, part, program, mode, what):
        """The median in milliseconds, or None."""
        costs = self.samples.get(part, {}).get(program, {}).get(mode)
        if not costs:
            return None
        return median(getattr(cost, what) for cost in costs) / (1e6 if what == "wall" else 1e3)

    def peak(self, part, program):
        costs = [cost for mode in self.samples.get(part, {}).get(program, {}).values() for cost in mode]
        return median(cost.peak for cost in costs) / 1024 if costs else None

    def base(self, part, mode, what):
        """What this part is compared with: the floor, or crun where the floor has no such command."""
        floor_part = self.yardstick.get(part)
        if floor_part and (value := self.value(floor_part, "floor", mode, what)):
            return value
        return self.value(part, "crun", mode, what)

    def ratio(self, part, program, mode, what):
        value, base = self.value(part, program, mode, what), self.base(part, mode, what)
        return value / base if value and base else None

    def parts(self):
        return [part for part in TITLES if part in self.samples or any(key[0] == part for key in self.missing)]

    def as_json(self, facts):
        out = {"facts": facts, "notes": self.notes, "limits_bytes": self.limits, "operations": {}}
        for part in self.parts():
            for program in self.programs:
                row = {}
                for mode in MODES:
                    costs = self.samples.get(part, {}).get(program, {}).get(mode)
                    if not costs:
                        continue
                    row[mode] = {"runs": len(costs)}
                    for what, unit in (("wall", 1e6), ("cpu", 1e3)):
                        values = sorted(getattr(cost, what) / unit for cost in costs)
                        tenths = quantiles(values, n=10) if len(values) > 1 else values * 9
                        row[mode][f"{what}_ms"] = {"median": median(values), "p10": tenths[0], "p90": tenths[-1], "min": values[0]}
                if row:
                    row["peak_mib"] = self.peak(part, program)
                    row["system_calls"] = self.calls.get(part, {}).get(program)
                elif (part, program) in self.missing:
                    row["missing"] = self.missing[part, program]
                if row:
                    out["operations"].setdefault(part, {})[program] = row
        return out


# ---- The table -----------------------------------------------------------------

def milliseconds(value):
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def mebibytes(value):
    """The kernel counts a process's pages in batches for each CPU: it is blind to the last few."""
    return f"{value:.1f}" if value >= 0.25 else "< 0.3"


def size(value):
    return f"{value // 1024} KiB" if value < 1024 * 1024 else f"{value / 1024 / 1024:.1f} MiB"


def table(results):
    head = ["operation", "program"]
    head += [f"{what}, {MODE_NAMES[mode]}" for what in ("wall ms", "CPU ms") for mode in MODES]
    head += ["system calls", "peak MiB", "smallest limit"]
    rows, parts = [], results.parts()
    limits_row = "run-empty" if "run-empty" in parts else parts[0] if parts else None
    for part in parts:
        first = True
        for program in results.programs:
            present = program in results.samples.get(part, {})
            if not present and (part, program) not in results.missing:
                continue
            row = [TITLES[part] if first else "", program]
            first = False
            for what in ("wall", "cpu"):
                for mode in MODES:
                    value, ratio = (f(part, program, mode, what) for f in (results.value, results.ratio))
                    cell = milliseconds(value) if value is not None else "–"
                    row.append(cell + (f" ({ratio:.2f}×)" if ratio else ""))
            if not present:
                row[2] = "not yet" if program == "ferrun" else "failed"
            calls, peak = results.calls.get(part, {}).get(program), results.peak(part, program)
            row.append(str(calls) if calls else "–")
            row.append(mebibytes(peak) if peak is not None else "–")
            limit = results.limits.get(program) if part == limits_row else None
            row.append(size(limit) if isinstance(limit, int) else limit or "")
            rows.append(row)
    widths = [max(len(row[i]) for row in rows + [head]) for i in range(len(head))]

    def line(row):
        cells = [cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))]
        return "| " + " | ".join(cells) + " |"

    rule = "|" + "|".join("-" * (w + 2) if i < 2 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    return "\n".join([line(head), rule] + [line(row) for row in rows])


# ---- Acceptance ----------------------------------------------------------------

# Part, what, against which part of whom, and how much at most.
PROMISES = [
    ("run", "cpu", "run", "floor", 1.5),
    ("run", "wall", "run", "floor", 2.0),
    ("state", "cpu", "state", "crun", 0.2),
    ("lifecycle", "cpu", "lifecycle", "crun", 0.6),
    ("exec", "cpu", "exec", "floor", 2.0),
    ("exec", "cpu", "exec", "crun", 0.4),
    ("exec", "wall", "exec", "crun", 0.4),
    ("exec-seccomp", "cpu", "exec-seccomp", "floor", 2.0),
    ("exec-seccomp", "cpu", "exec-seccomp", "crun", 0.4),
    ("exec-seccomp", "wall", "exec-seccomp", "crun", 0.4),
]


def checks(results, asked):
    """(what, measured ratio or None, allowed ratio) for all that ferrun has promised of what was asked for."""
    for mode in MODES:
        for part, what, other_part, other, allowed in PROMISES:
            if part in asked:
                mine, theirs = results.value(part, "ferrun", mode, what), results.value(other_part, other, mode, what)
                name = f"{TITLES[part]}, {WHATS[what]}, {MODE_NAMES[mode]}: ferrun / {other}"
                yield name, mine / theirs if mine and theirs else None, allowed


def verdict(results, asked):
    """The lines to print, and whether everything was measured and met."""
    lines, good = [], True
    for what, ratio, allowed in checks(results, asked):
        met = ratio is not None and ratio <= allowed
        good = good and met
        measured = "not measured" if ratio is None else f"{ratio:.2f}"
        lines.append(f"{'met   ' if met else 'NOT MET'} {what}: {measured} (at most {allowed})")
    return lines, good


# ---- The plot ------------------------------------------------------------------

COLOURS = {"floor": "#9aa3ad", "ferrun": "#c2410c", "crun": "#2f6fab", "runc": "#5a9e6f"}
MORE_COLOURS = ["#8b6bb1", "#b08a2e", "#4a9ca6"]
PLOTTED = ("run", "run-seccomp", "lifecycle", "exec", "state", "kill")
PANELS = (("wall", "back", "wall time, back to back"), ("wall", "spaced", "wall time, 40 ms apart"), ("cpu", "back", "CPU time, back to back"))


def nice_step(largest):
    """A distance between grid lines that gives three to six of them."""
    step = 0.1
    for factor in (2, 2.5, 2) * 8:
        if largest / step <= 5:
            break
        step *= factor
    return step


def svg(results, caption):
    parts = [part for part in PLOTTED if part in results.samples]
    names = [name for name in results.programs if any(name in results.samples[part] for part in parts)]
    spare = iter(MORE_COLOURS * len(names))
    colour = {name: COLOURS.get(name) or next(spare) for name in names}
    bar, gap, left, panel, between, top = 14, 16, 176, 262, 26, 74
    groups, y = [], top
    for part in parts:
        rows = [name for name in names if name in results.samples[part]]
        groups.append((part, rows, y))
        y += bar * len(rows) + gap
    bottom, width = y - gap + 8, left + len(PANELS) * (panel + between)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {bottom + 50}" width="{width}" height="{bottom + 50}" '
        'font-family="DejaVu Sans, Verdana, Helvetica, sans-serif" font-size="11" fill="#24292f">',
        f'<rect width="{width}" height="{bottom + 50}" fill="#ffffff"/>',
        '<text x="12" y="24" font-size="15" font-weight="bold">Container runtimes: the cost of one command, in milliseconds</text>',
    ]
    x = width - between - sum(34 + 7 * len(name) for name in names)
    for name in names:
        out.append(f'<rect x="{x}" y="14" width="11" height="11" fill="{colour[name]}"/><text x="{x + 16}" y="24">{escape(name)}</text>')
        x += 34 + 7 * len(name)
    for part, rows, y in groups:
        middle = y + bar * len(rows) / 2 + 4
        out.append(f'<text x="{left - 12}" y="{middle:.0f}" text-anchor="end">{escape(TITLES[part].strip())}</text>')
    for number, (what, mode, title) in enumerate(PANELS):
        x0 = left + number * (panel + between)
        values = [results.value(part, name, mode, what) or 0 for part, rows, _ in groups for name in rows]
        largest = max(values + [0.001])
        step, scale = nice_step(largest), (panel - 44) / largest  # room for the figure behind the longest bar
        out.append(f'<text x="{x0}" y="{top - 24}" font-weight="bold">{title}</text>')
        tick = 0.0
        while tick <= largest:
            x = x0 + tick * scale
            out.append(f'<line x1="{x:.1f}" y1="{top - 8}" x2="{x:.1f}" y2="{bottom}" stroke="{"#8c959f" if tick == 0 else "#e3e7eb"}"/>')
            out.append(f'<text x="{x:.1f}" y="{bottom + 14}" text-anchor="middle" font-size="10" fill="#57606a">{tick:g}</text>')
            tick = round(tick + step, 6)
        out.append(f'<text x="{x0 + panel - 8}" y="{bottom + 14}" text-anchor="end" font-size="10" fill="#57606a">ms</text>')
        for part, rows, y in groups:
            for row, name in enumerate(rows):
                value = results.value(part, name, mode, what)
                if value is None:
                    continue
                length, y0 = value * scale, y + row * bar
                out.append(f'<rect x="{x0}" y="{y0 + 1}" width="{length:.1f}" height="{bar - 2}" fill="{colour[name]}"/>')
                out.append(f'<text x="{x0 + length + 4:.1f}" y="{y0 + bar - 3}" font-size="10">{milliseconds(value)}</text>')
    out.append(f'<text x="12" y="{bottom + 38}" font-size="10" fill="#57606a">{escape(caption)}</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"
