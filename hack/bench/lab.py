"""Where the measurements take place: scratch space, bundles, cgroups, stopwatch.

Everything here lives below one tmpfs in a private mount namespace and below one
cgroup directory named after this process, so that removing the two removes all.
"""

import ctypes
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
TARGET = HERE.parent.parent / "target" / "bench"
PROFILE = HERE / "seccomp.json"
SCRATCH = TARGET / f"scratch-{os.getpid()}"  # its own, since rmdir takes a mount point from under others
COMMAND_TIMEOUT_MS = 20_000
PR_SET_CHILD_SUBREAPER = 36
ROOMY = 64 * 1024 * 1024  # a memory limit that every runtime starts under

# What the containers of each kind of bundle execute. A proof ends with 42, if it
# finds what it looks for: a program that does nothing at all would be the fastest.
PROVEN = 42
# In a running container: in its pid namespace, in which its parent is not, and in its cgroups, with the config's
# capabilities and no more. Not that no_new_privs is set, which the exec of crun 1.8 forgets.
ENTERED = (
    "[ $PPID = 0 ] && ! busybox grep -qv ':/$' /proc/self/cgroup && "
    "busybox grep -q '^CapEff:.0*20000420$' /proc/self/status"
)
COMMANDS = {
    "true": ["/bin/true"],
    "seccomp": ["/bin/true"],
    "empty": ["/bin/empty"],
    "sleep": ["/bin/sleep", "1000000"],
    "sleep-state": ["/bin/sleep", "1000000"],
    "sleep-seccomp": ["/bin/sleep", "1000000"],
    "proof": ["/bin/sh", "-c", f"exit {PROVEN}"],
    "proof-seccomp": ["/bin/sh", "-c", f"busybox grep -q '^Seccomp:.2' /proc/self/status && exit {PROVEN}"],
    "proof-exec": ["/bin/sh", "-c", f"{ENTERED} && exit {PROVEN}"],
    "proof-exec-seccomp": ["/bin/sh", "-c", f"{ENTERED} && busybox grep -q '^Seccomp:.2' /proc/self/status && exit {PROVEN}"],
    "proof-limit": [
        "/bin/sh",
        "-c",
        "read limit < /sys/fs/cgroup/memory/memory.limit_in_bytes || read limit < /sys/fs/cgroup/memory.max; "
        f"[ $limit = {ROOMY} ] && exit {PROVEN}",
    ],
}


class Failed(Exception):
    """A command of a runtime failed; the text is its own last line."""


class Cost(NamedTuple):
    """What one command cost: nanoseconds, microseconds, KiB, minor page faults."""

    wall: int = 0
    cpu: int = 0
    peak: int = 0
    faults: int = 0

    def __add__(self, other):
        return Cost(self.wall + other.wall, self.cpu + other.cpu, max(self.peak, other.peak), self.faults + other.faults)


# ---- Helper programs ---------------------------------------------------------

def build_helpers():
    """Compiles floor, meter and the program that only exits, where absent or old."""
    TARGET.mkdir(parents=True, exist_ok=True)
    compiler = shutil.which("musl-gcc") or shutil.which("gcc")
    empty = TARGET / "empty.c"
    if not empty.exists():
        empty.write_text("int main(void) { return 0; }\n")
    for source in (HERE / "floor.c", HERE / "meter.c", empty):
        binary = TARGET / source.stem
        if binary.exists() and binary.stat().st_mtime >= source.stat().st_mtime:
            continue
        if not compiler:
            raise SystemExit("bench: musl-gcc or gcc is needed (Debian: musl-tools or gcc)")
        subprocess.run([compiler, "-static", "-O2", "-Wall", "-Wextra", "-Wno-unused-result", "-o", binary, source], check=True)
    return Path(compiler).name if compiler else "an earlier build"


class Stopwatch:
    """The meter program: starts commands and says what they cost (see meter.c)."""

    def __init__(self, log):
        self.log = log
        log.touch()
        requests, self._requests = os.pipe()
        self._answers, answers = os.pipe()
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        errors = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        high = [(os.POSIX_SPAWN_DUP2, fd, 100 + i) for i, fd in enumerate((null, null, errors, requests, answers))]
        low = [(os.POSIX_SPAWN_DUP2, 100 + i, i) for i in range(5)]
        close = [(os.POSIX_SPAWN_CLOSE, 100 + i) for i in range(5)]
        # A group of its own: ^C is for us, who then clean up, not for a half-made container.
        self.pid = os.posix_spawn(TARGET / "meter", ["meter"], os.environ, file_actions=high + low + close, setpgroup=0)
        for fd in (requests, answers, null, errors):
            os.close(fd)
        self._answers = os.fdopen(self._answers)

    def _ask(self, *fields):
        os.write(self._requests, ("\t".join(map(str, fields)) + "\n").encode())
        return [int(field) for field in self._answers.readline().split()]

    def attempt(self, command, idle_ms=0, timeout_ms=COMMAND_TIMEOUT_MS):
        """Runs a command whatever comes of it: (status, cost)."""
        os.truncate(self.log, 0)
        status, *cost = self._ask("run", idle_ms * 1000, timeout_ms, *command)
        return status, Cost(*cost)

    def run(self, command, idle_ms=0, expect=0):
        """Runs a command that has to succeed, or to end with this status."""
        status, cost = self.attempt(command, idle_ms)
        if status != expect:
            raise Failed(f"status {status}: {self.last_words()}" if status != 124 else "no end within 20 s")
        return cost

    def drain(self, timeout_ms=COMMAND_TIMEOUT_MS, expect=None):
        """Waits for all that detached commands left; their CPU time counts, waiting does not."""
        count, cpu, peak, faults, status = self._ask("drain", timeout_ms)
        if count < 0:
            raise Failed("a process of the container did not end")
        if expect is not None and (count, status) != (1, expect):
            raise Failed(f"the container's process ended with {status}")
        return Cost(0, cpu, peak, faults)

    def crowd(self, workers, count, commands, timeout_ms=5 * 60_000):
        """The lives of many containers, some at once. The % in the commands is a container's number."""
        words = [word for command in commands for word in (*command, ";")][:-1]
        failed, *cost = self._ask("crowd", workers, count, timeout_ms, *words)
        if failed:
            raise Failed(f"a command failed: {self.last_words()}")
        return Cost(*cost)

    def last_words(self):
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip() if lines else "(no message)"

    def close(self):
        if self.pid:
            os.killpg(self.pid, signal.SIGKILL)  # with the command under way, if any
            os.waitpid(self.pid, 0)
            self.pid = 0


# ---- Cgroups -----------------------------------------------------------------

class Cgroups:
    """One directory in every hierarchy, the parent of all cgroups of all programs."""

    def __init__(self):
        self.mounts = []
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            fields, _, source = line.partition(" - ")
            point, kind = fields.split()[4], source.split()[0]
            if kind in ("cgroup", "cgroup2") and point.startswith("/sys/fs/cgroup"):
                self.mounts.append((Path(point), kind))
        self.path = f"/ferrun-bench-{os.getpid()}"

    @property
    def layout(self):
        kinds = [kind for _, kind in self.mounts]
        v1 = kinds.count("cgroup")
        return "v2" if not v1 else f"v1 ({v1} hierarchies)" + (" and v2 (hybrid)" if len(kinds) > v1 else "")

    def make(self):
        self._sweep()
        for mount, kind in self.mounts:
            group = mount / self.path[1:]
            group.mkdir()
            if (mount / "cpuset.cpus").exists() and kind == "cgroup":
                for name in ("cpuset.cpus", "cpuset.mems"):  # a new cpuset takes no process before
                    (group / name).write_text((mount / name).read_text())
            if kind == "cgroup2" and "memory" in (group / "cgroup.controllers").read_text().split():
                (group / "cgroup.subtree_control").write_text("+memory")

    def _sweep(self):
        """Removes what a bench that was killed left behind, but kills nothing of it."""
        busy = set()
        for mount, _ in self.mounts:
            for old in mount.glob("ferrun-bench-*"):
                if not Path("/proc", old.name.rpartition("-")[2]).exists() and not remove_tree(old):
                    busy.add(old.name)
        for name in sorted(busy):
            print(f"bench: an earlier bench left processes in its cgroups {name}: end them", file=sys.stderr)

    def processes(self, below=""):
        found = set()
        for mount, _ in self.mounts:
            for procs in (mount / self.path[1:] / below).rglob("cgroup.procs"):
                try:
                    found.update(int(pid) for pid in procs.read_text().split())
                except OSError:
                    pass
        return found

    def directories(self, pattern):
        """Those of one hierarchy."""
        return (self.mounts[0][0] / self.path[1:]).glob(pattern)

    def has(self, below):
        return any((mount / self.path[1:] / below).exists() for mount, _ in self.mounts)

    def remove(self, below="", patience=10.0):
        """Kills what runs below, then removes the directories."""
        end = time.monotonic() + patience
        while (left := self.processes(below)) and time.monotonic() < end:
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.01)
        for mount, _ in self.mounts:
            top = mount / self.path[1:] / below
            if not remove_tree(top):
                print(f"bench: cannot remove {top}", file=sys.stderr)


def remove_tree(top):
    """rmdir of a cgroup and all below; false if one is in use."""
    if not top.exists():
        return True
    for directory in sorted((p for p in top.rglob("*") if p.is_dir()), reverse=True) + [top]:
        try:
            directory.rmdir()
        except OSError:
            return False
    return True


# ---- The lab -----------------------------------------------------------------

class Lab:
    """Scratch space with the rootfs and the bundles, cgroups and the stopwatch."""

    def __init__(self):
        # Orphans of a traced `create` come to us, as those of a timed one come to the meter.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.scratch = SCRATCH
        self.scratch.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128m,mode=755", "ferrun-bench", self.scratch], check=True)
        self.rootfs = self.scratch / "rootfs"
        self.cgroups = Cgroups()
        self.cgroups.make()
        self.watch = Stopwatch(self.scratch / "stderr")
        self.config = None

    def make_rootfs(self):
        """The same root for all: busybox, its links, and a program that only exits."""
        busybox = shutil.which("busybox")
        if not busybox or b"/ld-linux" in Path(busybox).read_bytes()[:8192]:
            raise SystemExit("bench: a static busybox is needed (Debian: busybox-static)")
        for name in ("bin", "dev", "proc", "sys", "tmp", "etc"):
            (self.rootfs / name).mkdir(parents=True)
        shutil.copy(busybox, self.rootfs / "bin/busybox")
        shutil.copy(TARGET / "empty", self.rootfs / "bin/empty")
        for name in ("sh", "true", "sleep"):
            (self.rootfs / "bin" / name).symlink_to("busybox")

    def make_default_config(self, programs):
        """`spec` of ferrun; without it of runc, else of whoever has one. Says whose it is."""
        for program in sorted(programs, key=lambda p: {"ferrun": 0, "runc": 1}.get(p.name, 2)):
            where = self.scratch / "spec"
            where.mkdir(exist_ok=True)
            done = subprocess.run([*program.words, "spec", "--bundle", where], capture_output=True)
            if done.returncode == 0 and (where / "config.json").exists():
                self.config = json.loads((where / "config.json").read_text())
                return program.name
        if programs:
            raise SystemExit("bench: no program here makes a default config with `spec`")
        return "nobody's"

    def bundle(self, program, kind, memory=None, number=""):
        """A bundle of this program, of one of the kinds of COMMANDS; one of many, if it has a number."""
        config = json.loads(json.dumps(self.config))
        config["process"].update(terminal=False, args=COMMANDS[kind])
        # crun 1.8 refuses any other version than 1.0.
        config["ociVersion"] = "1.0.2"
        config["root"]["path"] = str(self.rootfs)
        linux = config["linux"]
        linux["cgroupsPath"] = f"{self.cgroup(program, kind)}{number}"
        # All engines of today give a container its own view of the cgroups.
        if not any(space["type"] == "cgroup" for space in linux["namespaces"]):
            linux["namespaces"].append({"type": "cgroup"})
        if kind.endswith("seccomp"):
            linux["seccomp"] = json.loads(PROFILE.read_text())
            if platform.machine() != "x86_64":
                del linux["seccomp"]["architectures"]
        if memory:
            linux.setdefault("resources", {})["memory"] = {"limit": memory}
        directory = self.scratch / "bundles" / program.name / f"{kind}{number}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "config.json").write_text(json.dumps(config, indent="\t"))
        return directory

    def cgroup(self, program, kind):
        return f"{self.cgroups.path}/{program.name}-{kind}"

    def fifo(self, kind):
        """Where a container of the floor waits for its start."""
        return self.scratch / f"fifo-{kind}"

    def clear(self, program, kind):
        """After a failure: no container, no process, no cgroup may stay."""
        if program.is_floor:
            self.fifo(kind).unlink(missing_ok=True)
        else:
            self.watch.attempt(program.command("delete", "--force", f"{program.name}-{kind}"))
        self.cgroups.remove(f"{program.name}-{kind}")
        try:
            self.watch.drain(5000)
        except Failed:
            pass

    def close(self):
        self.watch.close()
        self.cgroups.remove()
        for pid in Path("/proc/thread-self/children").read_text().split():
            os.kill(int(pid), signal.SIGKILL)  # as a subreaper we have no other children than our own
        try:
            while os.waitpid(-1, 0):
                pass
        except ChildProcessError:
            pass
        subprocess.run(["umount", "--lazy", self.scratch])
        try:
            self.scratch.rmdir()
        except OSError:
            pass


def hide_hybrid(programs):
    """crun refuses a v1 layout with a v2 mount beside it. Ours alone is unmounted, for all alike."""
    unified = "/sys/fs/cgroup/unified"
    if any(program.version().startswith("crun ") for program in programs) and os.path.ismount(unified):
        subprocess.run(["umount", unified], check=True)
        return "the empty v2 mount of this hybrid layout is hidden from all programs, since crun refuses it"
    return None


# ---- The machine -------------------------------------------------------------

def machine(lab):
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.*)$", cpuinfo, re.M)
    virtual = ", virtual" if re.search(r"^flags.*\bhypervisor\b", cpuinfo, re.M) else ""
    return (
        f"{model.group(1) if model else platform.machine()}, {os.cpu_count()} CPUs{virtual}; "
        f"Linux {platform.release().partition('-')[0]}; cgroup {lab.cgroups.layout}; load {os.getloadavg()[0]:.1f} at the start"
    )
