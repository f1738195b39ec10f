"""Writes figures into the documentation: plots beside it, and tables between markers in it.

A marker is a line `<!-- bench: NAME -->`; what is written goes up to the next line `<!-- end -->`.
"""

import re
from pathlib import Path

import plots
import promises
import report
from operations import ALL

TOP = Path(__file__).resolve().parent.parent.parent


def sections(results, facts, asked):
    """NAME -> text, of those for which everything was measured."""
    programs = "; ".join(f"{name} = {version}" for name, version in facts["programs"].items())
    found = {
        "mounts": report.axis(results, "mounts", ("run",), "mounts"),
        "containers": report.axis(results, "containers", ("run", "exec", "state", "delete"), "running"),
        "many": report.many(results),
    }
    if {operation.key for operation in ALL} | {"calls", "limit"} <= set(asked):
        notes = "".join(f" Note: {note}." for note in results.notes)
        found["machine"] = f"{facts['machine']}. Medians of {facts['runs']} interleaved runs. {programs}.{notes}"
        found |= {"short": report.short(results), "all": report.table(results)}
    if promises.measurements() <= set(asked):
        found["promises"] = promises.table(results, asked)
    return {name: text for name, text in found.items() if text}


def write(results, facts, asked):
    """Returns the files that were written. A section that was not measured stays as it is."""
    written = []
    caption = f"Medians of {facts['runs']} runs, less is better. {facts['machine']}."
    for name, plot in plots.all_plots(results, caption).items():
        (TOP / "docs" / name).write_text(plot)
        written.append(f"docs/{name}")
    texts = sections(results, facts, asked)
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
