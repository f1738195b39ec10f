#!/usr/bin/env python3
"""Times the floor, ferrun and its peers side by side. See README.md beside this file."""

import argparse
import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

import docs  # noqa: E402
import report  # noqa: E402
import targets  # noqa: E402
from crowds import CROWDS  # noqa: E402
from lab import HERE, SCRATCH, TARGET, Failed, Lab, build_helpers, hide_hybrid, machine  # noqa: E402
from operations import ALL, Program, Trace, smallest_limit  # noqa: E402
from options import build_ferrun, count, output_file, program  # noqa: E402
from results import MODE_NAMES, Results  # noqa: E402

INSIDE = "FERRUN_BENCH_INSIDE"  # set once we are in a mount namespace of our own
IDLE_MS = {"back": 0, "spaced": 40}
EXTRAS = ("calls", "limit")
TABLE = [operation.key for operation in ALL] + list(EXTRAS)


def arguments():
    keys = TABLE + [crowd.key for crowd in CROWDS]
    parser = argparse.ArgumentParser(prog="hack/bench/run", description=__doc__)
    parser.add_argument("--ferrun", metavar="PATH", type=program, help="the binary to measure (default: what hack/build makes)")
    parser.add_argument("--peer", metavar="NAME=COMMAND", type=peer, action="append", default=[], help="a runtime to compare with; repeatable (default: crun and runc)")
    parser.add_argument("--newest", action="store_true", help="compare with the newest crun that Debian has as well (hack/bench/peer)")
    parser.add_argument("--runs", metavar="N", type=count, help="runs of each command in each mode (default: 50)")
    parser.add_argument("--quick", action="store_true", help="10 runs: good for a look, not for a decision")
    parser.add_argument("--only", metavar="A,B", help="some of: " + ", ".join(keys) + " (default: all)")
    parser.add_argument("--docs", action="store_true", help="write the plots and tables of the documentation")
    parser.add_argument("--json", metavar="FILE", type=output_file, help="write all figures")
    parser.add_argument("--check", action="store_true", help="exit with 1 unless ferrun meets its targets")
    options = parser.parse_args()
    options.runs = options.runs or (10 if options.quick else 50)
    options.only = options.only.split(",") if options.only else keys
    if unknown := set(options.only) - set(keys):
        parser.error(f"--only: no such measurement: {', '.join(sorted(unknown))}")
    names = ["floor", "ferrun", *["crun-sid"] * options.newest, *(name for name, _ in options.peer)]
    if taken := {name for name in names if names.count(name) > 1}:
        parser.error(f"--peer {', '.join(sorted(taken))}: the name is taken")
    return options


def peer(text):
    """A peer's name, and the words of its command."""
    name, _, command = text.partition("=")
    if not re.fullmatch(r"[\w.-]+", name) or not command:
        raise argparse.ArgumentTypeError(f"{text}: write NAME=COMMAND")
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None
    return name, [program("".join(words[:1])), *words[1:]]


# ---- Before the namespace ------------------------------------------------------

def find_peers(given, newest):
    """Name -> the words of its command."""
    peers = given or [peer(f"{name}={path}") for name in ("crun", "runc") if (path := shutil.which(name))]
    if missing := [name for name in ("crun", "runc") if not given and not shutil.which(name)]:
        print(f"note: no {' and no '.join(missing)} here: apt-get install {' '.join(missing)}", file=sys.stderr)
    if newest:
        done = subprocess.run([HERE / "peer"], stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit("bench: hack/bench/peer failed")
        # Beside the other crun in tables and plots.
        after = next((index for index, (name, _) in enumerate(peers, 1) if name == "crun"), len(peers))
        peers = [*peers[:after], peer(f"crun-sid={done.stdout}"), *peers[after:]]
    return dict(peers)


def enter_namespace(ferrun, peers):
    """Executes this script again where mounts and unmounts are nobody else's concern."""
    os.environ[INSIDE] = json.dumps({"ferrun": ferrun, "peers": peers})
    os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv])


# ---- Measuring -----------------------------------------------------------------

class Bench:
    def __init__(self, lab, programs, options):
        self.lab, self.programs, self.options = lab, programs, options
        self.results = Results([program.name for program in programs])
        self.trace = Trace(lab.scratch) if "calls" in options.only and shutil.which("strace") else None

    def progress(self, text):
        end = "\r" if sys.stderr.isatty() else "\n"
        print(f"bench: {text:<60}", end=end, file=sys.stderr, flush=True)

    def all(self):
        for kind in ALL:
            if kind.key in self.options.only:
                self.operation(kind(self.lab))
        if "limit" in self.options.only:
            self.limits()
        for kind in CROWDS:
            if kind.key in self.options.only:
                kind(self).run(self)

    def operation(self, operation):
        able = [program for program in self.programs if operation.supports(program)]
        able.sort(key=lambda program: program.is_floor)  # its exec needs a container of another
        ready = [program for program in able if self.probe(operation, program)]
        try:
            for mode, idle_ms in IDLE_MS.items():
                self.progress(f"{operation.key}, {MODE_NAMES[mode]}")
                self.rounds(operation, ready, mode, idle_ms)
            if self.trace:
                self.count_calls(operation, ready)
        finally:
            for program in ready:
                operation.finish(program)

    def probe(self, operation, program):
        """Once outside the measurement: does it work, and are the caches warm?"""
        try:
            operation.prepare(program)
            operation.prove(program)
            operation.measure(program, 0)
            return True
        except Failed as failure:
            for part in operation.parts:
                self.results.missing[part, program.name] = str(failure)
            self.results.note(f"{program.name}, {operation.key}: {failure}")
            for kind in (operation.kind, "proof", "proof-seccomp"):
                self.lab.clear(program, kind)
            return False

    def rounds(self, operation, programs, mode, idle_ms):
        """Interleaved; the order changes each round, so that nobody always follows the same one."""
        order, shuffle = list(programs), random.Random(1).shuffle
        for _ in range(self.options.runs):
            shuffle(order)
            for program in list(order):
                try:
                    for part, cost in operation.measure(program, idle_ms).items():
                        self.results.add(part, program.name, mode, cost)
                except Failed as failure:
                    self.results.note(f"{program.name}, {operation.key}: a run failed and is not counted: {failure}")
                    self.lab.clear(program, operation.kind)
                    if not self.probe(operation, program):
                        order.remove(program)

    def count_calls(self, operation, programs):
        """The median of three: a Go runtime's count varies."""
        for program in programs:
            self.progress(f"{operation.key}, system calls of {program.name}")
            try:
                counts = [operation.traced(program, self.trace) for _ in range(3)]
            except Failed as failure:
                self.results.note(f"{program.name}, {operation.key}, system calls: {failure}")
                self.lab.clear(program, operation.kind)
                continue
            for part in counts[0]:
                self.results.calls.setdefault(part, {})[program.name] = sorted(count[part] for count in counts)[1]

    def limits(self):
        for program in self.programs:
            self.progress(f"smallest memory limit of {program.name}")
            try:
                self.results.limits[program.name] = smallest_limit(self.lab, program)
            except Failed as failure:
                self.lab.clear(program, "proof-limit")
                self.results.limits[program.name] = "not yet" if program.name == "ferrun" else "failed"
                self.results.note(f"{program.name}, memory limit: {failure}")


# ---- The whole -----------------------------------------------------------------

def interrupted(number, _frame):
    raise SystemExit(128 + number)


def main():
    options = arguments()
    if os.geteuid() != 0:
        raise SystemExit("bench: needs root: it mounts, makes cgroups and runs containers")
    if INSIDE not in os.environ:
        peers = find_peers(options.peer, options.newest)
        enter_namespace(options.ferrun or build_ferrun(), peers)
    found = json.loads(os.environ.pop(INSIDE))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)

    compiler = build_helpers()
    state_root = SCRATCH / "state"
    programs = [Program("floor", [TARGET / "floor"], None), Program("ferrun", [found["ferrun"]], state_root)]
    programs += [Program(name, words, state_root) for name, words in found["peers"].items()]
    hidden = hide_hybrid(programs)
    lab = Lab()
    try:
        for program in programs:
            (state_root / program.name).mkdir(parents=True)
        lab.make_rootfs()
        owner = lab.make_default_config(programs[1:])
        bench = Bench(lab, programs, options)
        results = bench.results
        facts = {
            "machine": machine(lab),
            "programs": {program.name: program.version() for program in programs},
            "origins": {program.name: program.origin() for program in programs},
            "config": f"what `{owner} spec` prints, with a cgroup namespace",
            "helpers": compiler,
            "runs": options.runs,
            "command": docs.command("hack/bench/run", sys.argv[1:]),
            "figures": f"medians of {options.runs} interleaved runs",
        }
        if hidden:
            results.note(hidden)
        if os.getloadavg()[0] > os.cpu_count():
            results.note("other work keeps the CPUs busy: wall times say little, and CPU times are a little higher")
        if compiler == "gcc":
            results.note("the floor is linked with glibc, which starts more slowly: install musl-tools for the true floor")
        if "calls" in options.only and not bench.trace:
            results.note("no system-call counts: strace is not installed")
        bench.all()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # the clean-up is not to be cut short
        lab.close()
    sys.exit(present(results, facts, options))


def present(results, facts, options):
    print(f"{facts['machine']}.\nDefault config: {facts['config']}. Medians of {facts['runs']} interleaved runs.")
    print("Programs: " + "; ".join(f"{name} = {version}" for name, version in facts["programs"].items()) + ".\n")
    if results.parts():
        print(report.table(results))
        print("\nIn parentheses: the ratio to the floor; where the floor has no such command, to crun.")
    for crowd in (
        report.many(results),
        report.axis(results, "containers", ("run", "exec", "state", "delete"), "running"),
        report.axis(results, "mounts", ("run",), "mounts"),
    ):
        print("\n" + crowd if crowd else "", end="\n" if crowd else "")
    for note, times in results.notes.items():
        print(f"- {note}" + (f" ({times} times)" if times > 1 else ""))
    lines, good = targets.verdict(results, options.only)
    print("\n" + "\n".join(lines))
    if options.docs:
        print("\n" + docs.write(results, facts, options.only))
    if options.json:
        options.json.write_text(json.dumps(results.as_json(facts), indent="\t") + "\n")
    return 0 if good or not options.check else 1


if __name__ == "__main__":
    main()
