"""Writes figures into the documentation: plots beside it, and tables between markers in it.

A marker is a line `<!-- bench: NAME -->`; what is written goes up to the next line `<!-- end -->`. Below each table is
the line of the run that it comes from.
"""

import re
import shlex
from pathlib import Path

import plots
import report
import targets
from operations import ALL

TOP = Path(__file__).resolve().parent.parent.parent
# What the tables of one command and its bar plots are made from, all in one run.
ONE_COMMAND = {operation.key for operation in ALL} | {"calls", "limit"}


def command(name, arguments):
    """The command as others can give it: without paths of this machine."""
    kept, skip = [name], False
    for word in arguments:
        option, _, value = word.partition("=")
        if not skip and option not in ("--ferrun", "--json", "--symbols", "--crun"):
            kept.append(shlex.quote(word))
        skip = not skip and not value and option in ("--ferrun", "--json", "--symbols", "--crun")
    return " ".join(kept)


def origin(facts):
    """The line of a run."""
    return f"`{facts['command']}`: {programs(facts)}; {facts['machine']}; {facts['figures']}."


def programs(facts):
    """Their versions, but for the floor's: crun-sid 1.28 (Debian unstable)."""
    found = []
    for name, version in facts["programs"].items():
        if number := re.search(r"version (\S+?)(?:, commit (\w+))?$", version):
            more = number[2] or facts.get("origins", {}).get(name)
            found.append(f"{name} {number[1]}" + (f" ({more})" if more else ""))
    return ", ".join(found)


def in_short(facts):
    machine = [part for part in facts["machine"].split("; ") if part.startswith(("Linux", "cgroup"))]
    return f"{programs(facts)}; {', '.join(machine)}; {facts['figures']}."


def sections(results, facts, asked):
    """NAME -> text, of those for which everything was measured; and what the others lack."""
    found, lacking = {}, {}
    for name, text in (
        ("mounts", report.axis(results, "mounts", ("run",), "mounts")),
        ("containers", report.axis(results, "containers", ("run", "exec", "state", "delete"), "running")),
        ("many", report.many(results)),
    ):
        if text:
            found[name] = text
    if missing := ONE_COMMAND - set(asked):
        lacking["the tables of one command and their plots"] = missing
    else:
        found["all"] = report.table(results)
    if missing := targets.measurements() - set(asked):
        lacking["the targets"] = missing
    else:
        found["targets"] = targets.table(results, asked)
    rounds = {"many": facts | {"figures": "medians of a few rounds"}}
    found = {name: f"{text}\n\n{origin(rounds.get(name, facts))}" for name, text in found.items() if text}
    if "all" in found:
        found["short"] = f"{report.short(results)}\n\n{in_short(facts)}"
        found["all"] += "".join(f" {note[0].upper()}{note[1:]}." for note in results.notes)
    return found, lacking


def write(results, facts, asked):
    """What was not measured stays as it is. Returns what there is to say about it."""
    texts, lacking = sections(results, facts, asked)
    caption = f"Medians of {facts['runs']} runs, less is better. {facts['machine']}."
    written = []
    for name, plot in plots.all_plots(results, caption).items():
        if "all" in texts or name.removeprefix("bench-").removesuffix(".svg") in texts:
            (TOP / "docs" / name).write_text(plot)
            written.append(f"docs/{name}")
    written += write_sections(texts)
    lines = ["written: " + (", ".join(written) or "nothing")]
    lines += [f"not written: {what} (missing: {', '.join(sorted(missing))})" for what, missing in lacking.items()]
    return "\n".join(lines)


def write_sections(texts):
    """Puts each text between the markers of its name. Returns the files that were changed."""
    written = []
    for name in ("README.md", "docs/performance.md"):
        old = (TOP / name).read_text()
        new = re.sub(
            r"(<!-- bench: (\S+) -->\n).*?(<!-- end -->\n)",
            lambda match: match[1] + texts[match[2]] + "\n" + match[3] if match[2] in texts else match[0],
            old,
            flags=re.DOTALL,
        )
        if new != old:
            (TOP / name).write_text(new)
            written.append(name)
    return written
