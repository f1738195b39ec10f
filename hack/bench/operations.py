"""What is measured of one container: one class an operation, each run by all programs alike."""

import json
import platform
import subprocess
import time
from pathlib import Path

from lab import COMMANDS, PROFILE, PROVEN, ROOMY, Failed


class Program:
    """The floor, ferrun or a peer, with its command line."""

    def __init__(self, name, words, state_root):
        self.name, self.words = name, [str(word) for word in words]
        self.is_floor = state_root is None
        self.prefix = self.words + ([] if self.is_floor else ["--root", f"{state_root}/{name}"])

    def command(self, *args):
        return self.prefix + [str(arg) for arg in args]

    def version(self):
        if self.is_floor:
            return "hack/bench/floor.c"
        done = subprocess.run([*self.words, "--version"], capture_output=True, text=True)
        lines = done.stdout.splitlines() or ["unknown version"]
        commit = next((line for line in lines if line.startswith("commit: ")), "")
        return lines[0] + (f", {commit.replace(':', '')}" if commit and self.name == "ferrun" else "")

    def origin(self):
        """The distribution that a peer is from."""
        if self.name == "crun-sid":
            return "Debian unstable"
        if not self.words[0].startswith(("/usr/bin/", "/usr/sbin/")):
            return ""
        release = platform.freedesktop_os_release()
        return f"{release.get('ID', '').capitalize()} {release.get('VERSION_ID', '')}".strip()


class Operation:
    """A row of the table, or several: `measure` returns a cost for each part."""

    key = ""
    kind = "true"  # the bundle
    parts = ()
    on_floor = False

    def __init__(self, lab):
        self.lab = lab

    def supports(self, program):
        return self.on_floor or not program.is_floor

    def id(self, program):
        return f"{program.name}-{self.kind}"

    def prepare(self, program):
        if not program.is_floor:
            self.lab.bundle(program, self.kind)

    def prove(self, program):
        """Fails unless the program really does what is about to be measured."""

    def finish(self, program):
        pass

    def measure(self, program, idle_ms):
        raise NotImplementedError

    def run_command(self, program, kind=None, memory=None):
        kind = kind or self.kind
        if program.is_floor:
            limit = ["-m", memory] if memory else []
            return program.command("-c", self.lab.cgroup(program, kind), *limit, self.lab.rootfs, *COMMANDS[kind])
        return program.command("run", "--bundle", self.lab.bundle(program, kind, memory), f"{program.name}-{kind}")

    def expect_container(self, program, kind=None):
        if not self.lab.cgroups.processes(f"{program.name}-{kind or self.kind}"):
            raise Failed("no process in the container's cgroup")

    def commands(self, program, kind=None, number=""):
        """Those of create, start and delete; of one of many containers, if it has a number."""
        kind = kind or self.kind
        if program.is_floor:
            group, fifo = f"{self.lab.cgroup(program, kind)}{number}", f"{self.lab.fifo(kind)}{number}"
            create = program.command("-c", group, "-w", fifo, self.lab.rootfs, *COMMANDS[kind])
            return create, program.command("-s", fifo), program.command("-c", group, "-d", fifo)
        name, bundle = f"{program.name}-{kind}{number}", self.lab.scratch / "bundles" / program.name / f"{kind}{number}"
        create = program.command("create", "--bundle", bundle, name)
        return create, program.command("start", name), program.command("delete", name)

    def traced(self, program, trace):
        """Counts system calls: `trace(command)` gives the count of one command."""
        return {self.key: trace(self.run_command(program))}


class Run(Operation):
    key, parts, on_floor = "run", ("run",), True

    def __init__(self, lab):
        super().__init__(lab)
        self.written = {}

    def prepare(self, program):
        self.written[program] = self.run_command(program)  # writes the bundle

    def prove(self, program):
        self.lab.watch.run(self.run_command(program, "proof"), expect=PROVEN)

    def measure(self, program, idle_ms):
        cost = self.lab.watch.run(self.written[program], idle_ms)
        return {self.key: cost + self.lab.watch.drain()}


class RunEmpty(Run):
    """Without the cost of /bin/true itself, which is the same for all and not small."""

    key, kind, parts = "run-empty", "empty", ("run-empty",)


class RunSeccomp(Run):
    """Docker's default profile, which the floor does not put on."""

    key, kind, parts, on_floor = "run-seccomp", "seccomp", ("run-seccomp",), False

    def prove(self, program):
        self.lab.watch.run(self.run_command(program, "proof-seccomp"), expect=PROVEN)


class Lifecycle(Operation):
    """create + start + delete, as an engine calls them. The floor's are three programs as well."""

    key, kind, on_floor = "lifecycle", "true", True
    parts = ("lifecycle", "create", "start", "delete")

    def prove(self, program):
        """The program waits for start, runs then, and delete leaves no cgroup."""
        kind, watch = "proof", self.lab.watch
        if not program.is_floor:
            self.lab.bundle(program, kind)
        create, start, delete = self.commands(program, kind)
        watch.run(create)
        self.expect_container(program, kind)
        watch.run(start)
        watch.drain(expect=PROVEN)
        watch.run(delete)
        if self.lab.cgroups.has(f"{program.name}-{kind}"):
            raise Failed("`delete` left a cgroup")

    def measure(self, program, idle_ms):
        watch, (create, start, delete) = self.lab.watch, self.commands(program)
        create = watch.run(create, idle_ms)
        start = watch.run(start, idle_ms)
        init = watch.drain()  # the container itself; waiting for its end is nobody's wall time
        delete = watch.run(delete, idle_ms) + watch.drain()
        return {"lifecycle": create + start + init + delete, "create": create, "start": start, "delete": delete}

    def traced(self, program, trace):
        create, start, delete = self.commands(program)
        create = trace(create, background=True)
        wait_until("created", lambda: self.is_created(program))
        start = trace(start)
        # strace follows the init to its end, so that the count of create includes it.
        total = create.result() + start
        delete = trace(delete)
        return {"lifecycle": total + delete, "start": start, "delete": delete}

    def is_created(self, program):
        """A traced `create` does not return before its container ends."""
        if program.is_floor:  # its fifo keeps an early start
            return bool(self.lab.cgroups.processes(self.id(program)))
        return state_of(program, self.id(program)) == "created"


class InSleeper(Operation):
    """Commands on a running container: one for each program, made once."""

    kind = "sleep"

    def __init__(self, lab):
        super().__init__(lab)
        self.keeper = lab.watch  # the parent of the container, once `create` has ended

    def prepare(self, program):
        super().prepare(program)
        if not program.is_floor:
            self.start_container(program)
            self.expect_container(program)

    def start_container(self, program):
        create, start, _ = self.commands(program)
        self.keeper.run(create)
        self.keeper.run(start)

    def finish(self, program):
        self.lab.clear(program, self.kind)

    def subject(self, program):
        raise NotImplementedError

    def measure(self, program, idle_ms):
        return {self.key: self.lab.watch.run(self.subject(program), idle_ms)}

    def traced(self, program, trace):
        return {self.key: trace(self.subject(program))}


class State(InSleeper):
    key, kind, parts = "state", "sleep-state", ("state",)  # a container beside that of exec

    def prove(self, program):
        if state_of(program, self.id(program)) != "running":
            raise Failed("`state` does not say that a running container is running")

    def subject(self, program):
        return program.command("state", self.id(program))


class Kill(InSleeper):
    """kill of a running container, which is made anew each time, outside the clock."""

    key, parts = "kill", ("kill",)

    def prepare(self, program):
        Operation.prepare(self, program)

    def prove(self, program):
        self.start_container(program)
        self.expect_container(program)
        self.lab.watch.run(self.subject(program))
        self.remove(program)

    def measure(self, program, idle_ms):
        self.start_container(program)
        cost = super().measure(program, idle_ms)
        self.remove(program)
        return cost

    def traced(self, program, trace):
        self.start_container(program)
        count = super().traced(program, trace)
        self.remove(program)
        return count

    def remove(self, program):
        self.keeper.drain()
        self.keeper.run(program.command("delete", self.id(program)))

    def subject(self, program):
        return program.command("kill", self.id(program), "KILL")


class Exec(InSleeper):
    """exec of /bin/true, in the foreground. The floor enters the container of another."""

    key, parts, on_floor = "exec", ("exec",), True
    program_kind, proof = "true", "proof-exec"

    def __init__(self, lab):
        super().__init__(lab)
        self.containers = []
        self.entrance = None

    def prepare(self, program):
        super().prepare(program)
        if program.is_floor:
            self.entrance = self.find_entrance()
        else:
            self.containers.append(program)

    def find_entrance(self):
        """That of the first container that still runs: a failed proof ends one."""
        for program in self.containers:
            if found := self.lab.cgroups.processes(self.id(program)):
                return ["-c", self.lab.cgroup(program, self.kind), "-x", min(found)]
        raise Failed("no container to enter")

    def subject(self, program, kind=None):
        what = COMMANDS[kind or self.program_kind]
        if program.is_floor:
            return program.command(*self.entrance, *what)
        return program.command("exec", self.id(program), *what)

    def prove(self, program):
        self.lab.watch.run(self.subject(program, self.proof), expect=PROVEN)

    def finish(self, program):
        if not program.is_floor:
            super().finish(program)


class ExecEmpty(Exec):
    """Without the cost of /bin/true itself."""

    key, parts, program_kind = "exec-empty", ("exec-empty",), "empty"


class ExecSeccomp(Exec):
    """Docker's default profile, which the floor gets compiled: it only reads and installs the program."""

    key, kind, parts = "exec-seccomp", "sleep-seccomp", ("exec-seccomp",)
    proof = "proof-exec-seccomp"

    def find_entrance(self):
        where = self.lab.scratch / "filter"
        compiler = next((program for program in self.containers if program.name == "ferrun"), None)
        if not compiler:
            raise Failed("no ferrun compiles its filter")
        command = [*compiler.words, "seccomp", "--profile", PROFILE, "--bpf", where]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return super().find_entrance() + ["-f", where]


ALL = [Run, RunEmpty, RunSeccomp, Lifecycle, State, Kill, Exec, ExecEmpty, ExecSeccomp]


def state_of(program, name):
    done = subprocess.run(program.command("state", name), capture_output=True, text=True)
    try:
        return json.loads(done.stdout)["status"] if done.returncode == 0 else None
    except (ValueError, KeyError, TypeError):
        return None


def wait_until(what, is_so, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if is_so():
            return
        time.sleep(0.01)
    raise Failed(f"no state {what} under strace within {seconds} s")


# ---- System calls --------------------------------------------------------------

class Trace:
    """strace -f -c of one command; the result is the number of system calls."""

    def __init__(self, scratch):
        self.scratch, self.number = Path(scratch), 0

    def __call__(self, command, background=False):
        self.number += 1
        output = self.scratch / f"strace-{self.number}"
        null = subprocess.DEVNULL
        process = subprocess.Popen(["strace", "-f", "-c", "-o", output, *command], stdin=null, stdout=null, stderr=null)
        counted = Counted(process, output)
        return counted if background else counted.result()


class Counted:
    def __init__(self, process, output):
        self.process, self.output = process, output

    def result(self):
        try:
            status = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Failed("no end within 30 s under strace") from None
        if status != 0:
            raise Failed(f"status {status} under strace")
        # The last line: "100.00  0.003506  16  212  10 total"; the fourth is the count of calls.
        return int(self.output.read_text().splitlines()[-1].split()[3])


# ---- The smallest memory limit -------------------------------------------------

def smallest_limit(lab, program, page=4096):
    """The smallest memory limit, in bytes, under which `run` succeeds three times in a row."""
    run = RunEmpty(lab)

    def starts(pages):
        command = run.run_command(program, memory=pages * page)
        for _ in range(3):
            status, _ = lab.watch.attempt(command, timeout_ms=5000)
            if status != 0:
                said = lab.watch.last_words()
                lab.clear(program, run.kind)
                return said
        return None

    lab.watch.run(run.run_command(program, "proof-limit", ROOMY), expect=PROVEN)
    good, bad = ROOMY // page, 0
    if said := starts(good):
        raise Failed(said)
    while good - bad > max(1, good // 64):  # to 2 %
        middle = (good + bad) // 2
        if starts(middle):
            bad = middle
        else:
            good = middle
    return good * page
