"""The plots of the documentation, as SVG."""

from functools import partial
from html import escape

from report import mebibytes, milliseconds
from results import TITLES

COLOURS = {"floor": "#9aa3ad", "ferrun": "#c2410c", "crun": "#2f6fab", "crun-sid": "#7fb0dc", "runc": "#5a9e6f"}
MORE_COLOURS = ["#8b6bb1", "#b08a2e", "#4a9ca6"]
FONT = 'font-family="DejaVu Sans, Verdana, Helvetica, sans-serif" font-size="11" fill="#24292f"'
GREY, GRID, AXIS = "#57606a", "#e3e7eb", "#8c959f"


def nice_step(largest):
    """A distance between grid lines that gives three to six of them."""
    step = 0.1
    for factor in (2, 2.5, 2) * 8:
        if largest / step <= 5:
            break
        step *= factor
    return step


def ticks(largest):
    step = nice_step(largest)
    return [round(number * step, 6) for number in range(int(largest / step) + 1)]


def colours(names):
    spare = iter(MORE_COLOURS * len(names))
    return {name: COLOURS.get(name) or next(spare) for name in names}


def frame(title, caption, names, width, height, body):
    """The picture: title, legend and caption around what is drawn."""
    colour = colours(names)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" {FONT}>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="24" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]
    x = 12
    for name in names:
        out.append(f'<rect x="{x}" y="37" width="11" height="11" fill="{colour[name]}"/><text x="{x + 16}" y="47">{escape(name)}</text>')
        x += 34 + 7 * len(name)
    out += body
    out.append(f'<text x="12" y="{height - 12}" font-size="10" fill="{GREY}">{escape(caption)}</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"


def bars(results, title, caption, parts, panels):
    """Horizontal bars: a group of them a part, a panel a (title, unit, text of a value, value of part and program)."""
    parts = [part for part in parts if part in results.samples]
    names = [name for name in results.programs if any(name in results.samples[part] for part in parts)]
    colour = colours(names)
    bar, gap, left, panel, between, top = 14, 16, 176, 262, 26, 96
    groups, y = [], top
    for part in parts:
        rows = [name for name in names if name in results.samples[part]]
        groups.append((part, rows, y))
        y += bar * len(rows) + gap
    bottom, width, out = y - gap + 8, left + len(panels) * (panel + between), []
    for part, rows, y in groups:
        middle = y + bar * len(rows) / 2 + 4
        out.append(f'<text x="{left - 12}" y="{middle:.0f}" text-anchor="end">{escape(TITLES[part].strip())}</text>')
    for number, (panel_title, unit, text, value_of) in enumerate(panels):
        x0 = left + number * (panel + between)
        largest = max([value_of(part, name) or 0 for part, rows, _ in groups for name in rows] + [0.001])
        scale = (panel - 44) / largest  # room for the figure behind the longest bar
        out.append(f'<text x="{x0}" y="{top - 24}" font-weight="bold">{escape(panel_title)}</text>')
        for tick in ticks(largest):
            x = x0 + tick * scale
            out.append(f'<line x1="{x:.1f}" y1="{top - 8}" x2="{x:.1f}" y2="{bottom}" stroke="{AXIS if tick == 0 else GRID}"/>')
            out.append(f'<text x="{x:.1f}" y="{bottom + 14}" text-anchor="middle" font-size="10" fill="{GREY}">{tick:g}</text>')
        out.append(f'<text x="{x0 + panel - 8}" y="{bottom + 14}" text-anchor="end" font-size="10" fill="{GREY}">{unit}</text>')
        for part, rows, y in groups:
            for row, name in enumerate(rows):
                value = value_of(part, name)
                if value is None:
                    continue
                length, y0 = value * scale, y + row * bar
                out.append(f'<rect x="{x0}" y="{y0 + 1}" width="{length:.1f}" height="{bar - 2}" fill="{colour[name]}"/>')
                out.append(f'<text x="{x0 + length + 4:.1f}" y="{y0 + bar - 3}" font-size="10">{escape(text(value))}</text>')
    return frame(title, caption, names, width, bottom + 50, out)


def lines(results, title, caption, key, parts, unit):
    """CPU time along an axis of crowds.py: a panel a part; of one part alone also its growth."""
    parts = [part for part in parts if results.points(key, part)]
    panels = [(part, f"{TITLES[part].strip()}, CPU ms", False) for part in parts]
    if len(parts) == 1:
        panels.append((parts[0], f"the same ÷ that with {results.points(key, parts[0])[0]}", True))
    names = [name for name in results.programs if any(curve(results, key, part, name) for part in parts)]
    colour = colours(names)
    panel, high, left, top, between, margin = 260, 190, 46, 86, 64, 24
    width, out = left + len(panels) * (panel + between) - between + margin, []
    for number, (part, panel_title, is_relative) in enumerate(panels):
        points, x0, bottom = results.points(key, part), left + number * (panel + between), top + high
        curves = {name: figures for name in names if (figures := curve(results, key, part, name))}
        if is_relative:
            curves = {name: [figure / figures[0] for figure in figures] for name, figures in curves.items()}
        largest = max(max(figures) for figures in curves.values())
        at = {point: x0 + panel * point / points[-1] for point in points}
        out.append(f'<text x="{x0}" y="{top - 14}" font-weight="bold">{escape(panel_title)}</text>')
        for tick in ticks(largest):
            y = bottom - high * tick / largest
            out.append(f'<line x1="{x0}" y1="{y:.1f}" x2="{x0 + panel}" y2="{y:.1f}" stroke="{AXIS if tick == 0 else GRID}"/>')
            out.append(f'<text x="{x0 - 6}" y="{y + 4:.1f}" text-anchor="end" font-size="10" fill="{GREY}">{tick:g}</text>')
        for point in points:
            out.append(f'<text x="{at[point]:.1f}" y="{bottom + 16}" text-anchor="middle" font-size="10" fill="{GREY}">{point}</text>')
        out.append(f'<text x="{x0 + panel}" y="{bottom + 32}" text-anchor="end" font-size="10" fill="{GREY}">{escape(unit)}</text>')
        for name, figures in curves.items():
            places = [(at[point], bottom - high * figure / largest) for point, figure in zip(points, figures)]
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            out.append(f'<polyline points="{path}" fill="none" stroke="{colour[name]}" stroke-width="2"/>')
            out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour[name]}"/>' for x, y in places]
    return frame(title, caption, names, width, top + high + 64, out)


def curve(results, key, part, name):
    """The CPU times at the points of an axis; empty unless all were measured."""
    figures = [results.value(part, name, (key, point), "cpu") for point in results.points(key, part)]
    return [] if None in figures else figures


def of_time(results):
    """Panels of wall and CPU time."""
    panels = (("wall", "back", "wall time, back to back"), ("wall", "spaced", "wall time, 40 ms apart"), ("cpu", "back", "CPU time, back to back"))
    return [(title, "ms", milliseconds, partial(cost, results, what, mode)) for what, mode, title in panels]


def cost(results, what, mode, part, name):
    return results.value(part, name, mode, what)


def of_memory(results):
    """Panels of peak memory and page faults."""
    return [
        ("largest process, MiB", "MiB", mebibytes, results.peak),
        ("page faults of all processes", "", lambda value: f"{value:.0f}", results.faults),
    ]


COST = "Container runtimes: the cost of one command, in milliseconds"
COMMANDS = ("run", "run-seccomp", "lifecycle", "exec", "state", "kill")
EXECS = ("exec", "exec-empty", "exec-seccomp")
LEAN = ("run-empty", "create", "start", "exec-empty", "state")
NEIGHBOURS = ("run", "exec", "state", "delete")


def all_plots(results, caption):
    """A file's name -> its content, of those for which everything was measured."""
    plots = {}
    for name, title, parts, panels in (
        ("bench.svg", COST, COMMANDS, of_time),
        ("bench-exec.svg", "exec in a running container", EXECS, of_time),
        ("bench-memory.svg", "Memory", LEAN, of_memory),
    ):
        if set(parts) <= set(results.parts()):
            plots[name] = bars(results, title, caption, parts, panels(results))
    for key, title, parts, unit in (
        ("mounts", "A start, by the mounts of the host", ("run",), "mounts"),
        ("containers", "Commands beside other containers", NEIGHBOURS, "running containers"),
    ):
        if results.points(key):
            plots[f"bench-{key}.svg"] = lines(results, title, caption, key, parts, unit)
    return plots
