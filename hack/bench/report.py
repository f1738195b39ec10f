"""The tables, in Markdown."""

from results import MODE_NAMES, MODES, TITLES, WHATS


def milliseconds(value):
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def mebibytes(value):
    """The kernel counts a process's pages in batches for each CPU: it is blind to the last few."""
    return f"{value:.1f}" if value >= 0.25 else "< 0.3"


def size(value):
    return f"{value // 1024} KiB" if value < 1024 * 1024 else f"{value / 1024 / 1024:.1f} MiB"


def lay_out(head, rows, left=1):
    """A table whose first columns are aligned to the left."""
    widths = [max(len(row[i]) for row in rows + [head]) for i in range(len(head))]

    def line(row):
        cells = [cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))]
        return "| " + " | ".join(cells) + " |"

    rule = "|" + "|".join("-" * (w + 2) if i < left else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    return "\n".join([line(head), rule] + [line(row) for row in rows])


def table(results):
    """One operation after the other."""
    head = ["operation", "program"]
    head += [f"{what}, {MODE_NAMES[mode]}" for what in ("wall ms", "CPU ms") for mode in MODES]
    head += ["system calls", "page faults", "peak MiB", "smallest limit"]
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
            for what in WHATS:
                for mode in MODES:
                    row.append(with_ratio(results, part, program, mode, what))
            if not present:
                row[2] = "not yet" if program == "ferrun" else "failed"
            calls = results.calls.get(part, {}).get(program)
            faults, peak = results.faults(part, program), results.peak(part, program)
            row.append(str(calls) if calls else "–")
            row.append(f"{faults:.0f}" if faults is not None else "–")
            row.append(mebibytes(peak) if peak is not None else "–")
            limit = results.limits.get(program) if part == limits_row else None
            row.append(size(limit) if isinstance(limit, int) else limit or "")
            rows.append(row)
    return lay_out(head, rows, left=2) if rows else ""


def with_ratio(results, part, program, mode, what):
    value, ratio = (ask(part, program, mode, what) for ask in (results.value, results.ratio))
    return (milliseconds(value) if value is not None else "–") + (f" ({ratio:.2f}×)" if ratio else "")


def short(results):
    """The few rows that the README shows."""
    rows = []
    for part, what, mode in (
        ("run", "wall", "back"),
        ("run", "cpu", "back"),
        ("run", "wall", "spaced"),
        ("lifecycle", "cpu", "back"),
        ("exec", "cpu", "back"),
        ("state", "cpu", "back"),
    ):
        cells = [with_ratio(results, part, program, mode, what) for program in results.programs]
        rows.append([f"{TITLES[part]}, {WHATS[what]} in ms, {MODE_NAMES[mode]}", *cells])
    peaks = [results.peak("run-empty", program) for program in results.programs]
    rows.append(["peak memory of run, empty program, in MiB", *(mebibytes(peak) if peak is not None else "–" for peak in peaks)])
    return lay_out(["", *results.programs], rows)


def axis(results, key, parts, unit):
    """CPU time along an axis of crowds.py, and its growth from the first point to the last."""
    rows, points = [], results.points(key)
    for part in parts:
        first = True
        for program in results.programs:
            values = [results.value(part, program, (key, point), "cpu") for point in points]
            if None in values or not values:
                continue
            growth = results.growth(part, program, key)
            growth = f"{growth:.2f}×" if growth else "–"
            rows.append([TITLES[part].strip() if first else "", program, *map(milliseconds, values), growth])
            first = False
    head = ["CPU ms", "program", *(f"{point} {unit}" for point in points), "growth"]
    return lay_out(head, rows, left=2) if rows else ""


def many(results):
    """Of the containers that are started some at once: their wall and CPU time together."""
    rows, modes = [], [("many", point) for point in results.points("many", "many")]
    if not modes:
        return ""
    for program in results.programs:
        wall, cpu = (results.value("many", program, modes[0], what) for what in WHATS)
        crun = results.value("many", "crun", modes[0], "wall")
        if wall:
            rows.append([program, f"{wall / 1000:.2f} s", f"{cpu / 1000:.2f} s", f"{wall / crun:.2f}" if crun else "–"])
    return lay_out([f"{modes[0][1]} {TITLES['many']}", "wall time", "CPU time", "wall ÷ crun's"], rows)
