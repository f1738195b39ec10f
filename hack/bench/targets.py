"""What --check holds ferrun to and docs/performance.md lists: TARGETS is the one table."""

import platform

from crowds import Mounts, Neighbours
from report import lay_out
from results import MODE_NAMES, MODES, TITLES, WHATS


def cruns(results):
    return [name for name in results.programs if name.startswith("crun")] or ["crun"]


# ---- What is compared: each yields (what, figure or None, at most, unit) ---------

def ratio(part, whats, others):
    """To the floor, or to every crun; in both modes."""

    def compare(results, most):
        for what in whats:
            for mode in MODES:
                for other in ["floor"] if others == "floor" else cruns(results):
                    mine, theirs = (results.value(part, name, mode, what) for name in ("ferrun", other))
                    what_of = f"{TITLES[part].strip()}, {WHATS[what]}, {MODE_NAMES[mode]}: ÷ {other}"
                    yield what_of, mine / theirs if mine and theirs else None, most, ""

    return part, compare


def faults(part):
    return part, lambda results, most: [(f"{TITLES[part].strip()}: page faults", results.faults(part, "ferrun"), most, "")]


def peak(part):
    return part, lambda results, most: [(f"{TITLES[part].strip()}: peak memory", results.peak(part, "ferrun"), most, "MiB")]


def beside_neighbours(results, factor):
    """The CPU time with the most containers over that with none. What the floor does not have costs it nothing."""
    count = max(results.points(Neighbours.key), default=0)
    for part in ("run", "exec", "state", "delete"):
        mine, floors = (results.growth(part, name, Neighbours.key) for name in ("ferrun", "floor"))
        most = factor * (1 if part == "state" else floors) if mine and (floors or part == "state") else None
        yield f"{TITLES[part].strip()}, CPU time beside {count} running containers ÷ beside none", mine, most, ""


def at_once(results, most):
    count = max(results.points("many", "many"), default=0)
    for other in cruns(results):
        mine, theirs = (results.value("many", name, ("many", count), "wall") for name in ("ferrun", other))
        yield f"{count} {TITLES['many']}, wall time: ÷ {other}", mine / theirs if mine and theirs else None, most, ""


def smallest_limit(results, factor):
    for other in cruns(results):
        mine, theirs = (results.limits.get(name) for name in ("ferrun", other))
        mine, theirs = (limit / 1024 if isinstance(limit, int) else None for limit in (mine, theirs))
        yield f"smallest memory limit, against that of {other}", mine, theirs and factor * theirs, "KiB"


def with_mounts(results, most):
    """Linux 7.0 brings what does not copy them: OPEN_TREE_NAMESPACE."""
    figure = results.growth("run", "ferrun", Mounts.key, last=2000)
    if figure and int(platform.release().split(".")[0]) < 7:
        most = "Linux 7.0"
    yield "run, CPU time with 2,000 mounts on the host ÷ with few", figure, most, ""


# ---- The table -------------------------------------------------------------------

# A measurement of --only and how it is compared; at most.
TARGETS = [
    (ratio("run", ("cpu", "wall"), "floor"), 1.15),
    (ratio("lifecycle", ("cpu",), "floor"), 1.2),
    (ratio("exec", ("cpu",), "floor"), 1.3),
    (ratio("exec", ("cpu",), "crun"), 0.3),
    (ratio("exec-seccomp", ("cpu",), "floor"), 1.3),
    (ratio("exec-seccomp", ("cpu",), "crun"), 0.3),
    (ratio("state", ("cpu",), "crun"), 0.1),
    (ratio("kill", ("cpu",), "crun"), 0.1),
    (faults("run-empty"), 90),
    (faults("state"), 30),
    (peak("create"), 1.0),
    (peak("run-empty"), 1.0),
    (("containers", beside_neighbours), 1.05),
    (("many", at_once), 0.3),
    (("limit", smallest_limit), 1.0),
    (("mounts", with_mounts), 1.1),
]

WORDS = {True: "met", False: "missed", None: "–"}
MEASURED_BY = {"create": "lifecycle"}  # a part -> the measurement that it is a part of


def shown(figure):
    if figure is None:
        return "not measured"
    return figure if isinstance(figure, str) else f"{figure:.0f}" if figure >= 20 else f"{figure:.2f}"


def pair(figure, most):
    """Both, with as many digits as it takes to see which is more."""
    both = shown(figure), shown(most)
    if both[0] == both[1] and not isinstance(most, str) and None not in (figure, most) and figure > most:
        return f"{figure:.3f}", f"{most:.3f}"
    return both


def measurements():
    """Those of --only that the targets need."""
    return {MEASURED_BY.get(part, part) for (part, _), _ in TARGETS}


def checks(results, asked):
    """(what, figure, at most, unit, verdict) of what was asked for."""
    for (part, compare), allowed in TARGETS:
        if MEASURED_BY.get(part, part) not in asked:
            continue
        for what, figure, most, unit in compare(results, allowed):
            if isinstance(most, str):
                yield what, figure, f"{allowed} from {most} on", unit, None
            else:
                yield what, figure, most, unit, None not in (figure, most) and figure <= most


def verdict(results, asked):
    """The lines to print, and whether everything was measured and met."""
    lines, good = [], True
    for what, figure, most, unit, met in checks(results, asked):
        good = good and met is not False
        figure, most = pair(figure, most)
        lines.append(f"{WORDS[met]:7} {what}: {figure} (at most {most}{' ' + unit if unit else ''})")
    return lines, good


def table(results, asked):
    """The same as a table of Markdown, and how many are met."""
    rows, verdicts = [], []
    for what, figure, most, unit, met in checks(results, asked):
        unit = " " + unit if unit else ""
        figure, most = pair(figure, most)
        verdicts.append(met)
        rows.append([what, figure + unit, most + unit, WORDS[met]])
    if not rows:
        return ""
    return f"{verdicts.count(True)} of {len(rows) - verdicts.count(None)} are met.\n\n" + lay_out(["", "measured", "at most", ""], rows)
