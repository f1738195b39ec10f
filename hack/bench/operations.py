"""What is measured: one class an operation, each run by all programs alike."""

import json
import subprocess
import time
from pathlib import Path

from lab import COMMANDS, PROFILE, PROVEN, ROOMY, Failed


class Program:
    """The floor, ferrun or a peer, with its command line."""

    def __init__(self, name, path, state_root):
        self.name, self.path = name, str(path)
        self.is_floor = state_root is None
        self.prefix = [self.path] + ([] if self.is_floor else ["--root", f"{state_root}/{name}"])

    def command(self, *args):
        return self.prefix + [str(arg) for arg in args]

    def version(self):
        if self.is_floor:
            return "hack/bench/floor.c"
        done = subprocess.run([self.path, "--version"], capture_output=True, text=True)
        return (done.stdout.splitlines() or ["unknown version"])[0]


class Operation:
    """A row of the table, or several: `measure` returns a cost for each part."""

    key = ""
    kind = "true"  # the bundle
    parts = ()
    floor_part = None  # the row of the floor that is the yardstick
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

    def expect_container(self, program):
        if not self.lab.cgroups.processes(self.id(program)):
            raise Failed("no process in the container's cgroup")

    def create_command(self, program):
        bundle = self.lab.scratch / "bundles" / program.name / self.kind
        return program.command("create", "--bundle", bundle, self.id(program))

    def traced(self, program, trace):
        """Counts system calls: `trace(command)` gives the count of one command."""
        return {self.key: trace(self.run_command(program))}


class Run(Operation):
    key, parts, floor_part, on_floor = "run", ("run",), "run", True

    def __init__(self, lab):
        super().__init__(lab)
        self.commands = {}

    def prepare(self, program):
        self.commands[program] = self.run_command(program)  # writes the bundle

    def prove(self, program):
        self.lab.watch.run(self.run_command(program, "proof"), expect=PROVEN)

    def measure(self, program, idle_ms):
        cost = self.lab.watch.run(self.commands[program], idle_ms)
        return {self.key: cost + self.lab.watch.drain()}


class RunEmpty(Run):
    """Without the cost of /bin/true itself, which is the same for all and not small."""

    key, kind, parts, floor_part = "run-empty", "empty", ("run-empty",), "run-empty"


class RunSeccomp(Run):
    """Docker's default profile. The floor has no filter: its plain run is the yardstick."""

    key, kind, parts, on_floor = "run-seccomp", "seccomp", ("run-seccomp",), False

    def prove(self, program):
        self.lab.watch.run(self.run_command(program, "proof-seccomp"), expect=PROVEN)


class Lifecycle(Operation):
    """create + start + delete, as an engine calls them."""

    key, kind, floor_part = "lifecycle", "true", "run"
    parts = ("lifecycle", "create", "start", "delete")

    def prove(self, program):
        self.lab.watch.run(self.create_command(program))
        self.expect_container(program)
        self.lab.clear(program, self.kind)

    def measure(self, program, idle_ms):
        watch, name = self.lab.watch, self.id(program)
        create = watch.run(self.create_command(program), idle_ms)
        start = watch.run(program.command("start", name), idle_ms)
        init = watch.drain()  # the container itself; waiting for its end is nobody's wall time
        delete = watch.run(program.command("delete", name), idle_ms) + watch.drain()
        return {"lifecycle": create + start + init + delete, "create": create, "start": start, "delete": delete}

    def traced(self, program, trace):
        name = self.id(program)
        create = trace(self.create_command(program), background=True)
        wait_until_created(program, name)
        start = trace(program.command("start", name))
        # strace follows the init to its end, so that the count of create includes it.
        total = create.result() + start
        delete = trace(program.command("delete", name))
        return {"lifecycle": total + delete, "start": start, "delete": delete}


class InSleeper(Operation):
    """Commands on a running container: one for each program, made once."""

    kind = "sleep"

    def prepare(self, program):
        super().prepare(program)
        if not program.is_floor:
            self.start_container(program)
            self.expect_container(program)

    def start_container(self, program):
        self.lab.watch.run(self.create_command(program))
        self.lab.watch.run(program.command("start", self.id(program)))

    def finish(self, program):
        self.lab.clear(program, self.kind)

    def subject(self, program):
        raise NotImplementedError

    def measure(self, program, idle_ms):
        return {self.key: self.lab.watch.run(self.subject(program), idle_ms)}

    def traced(self, program, trace):
        return {self.key: trace(self.subject(program))}


class State(InSleeper):
    key, parts = "state", ("state",)

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
        self.lab.watch.drain()
        self.lab.watch.run(program.command("delete", self.id(program)))

    def subject(self, program):
        return program.command("kill", self.id(program), "KILL")


class Exec(InSleeper):
    """exec of /bin/true, in the foreground. The floor enters the container of another."""

    key, parts, floor_part, on_floor = "exec", ("exec",), "exec", True
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

    key, parts, floor_part, program_kind = "exec-empty", ("exec-empty",), "exec-empty", "empty"


class ExecSeccomp(Exec):
    """Docker's default profile, which the floor gets compiled: it only reads and installs the program."""

    key, kind, parts, floor_part = "exec-seccomp", "sleep-seccomp", ("exec-seccomp",), "exec-seccomp"
    proof = "proof-exec-seccomp"

    def find_entrance(self):
        where = self.lab.scratch / "filter"
        compiler = next((program for program in self.containers if program.name == "ferrun"), None)
        if not compiler:
            raise Failed("no ferrun compiles its filter")
        command = [compiler.path, "seccomp", "--profile", PROFILE, "--bpf", where]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return super().find_entrance() + ["-f", where]


ALL = [Run, RunEmpty, RunSeccomp, Lifecycle, State, Kill, Exec, ExecEmpty, ExecSeccomp]


def state_of(program, name):
    done = subprocess.run(program.command("state", name), capture_output=True, text=True)
    try:
        return json.loads(done.stdout)["status"] if done.returncode == 0 else None
    except (ValueError, KeyError, TypeError):
        return None


def wait_until_created(program, name, seconds=20):
    """A traced `create` does not return before its container ends: ask for the state."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if state_of(program, name) == "created":
            return
        time.sleep(0.01)
    raise Failed("`create` under strace did not reach the state created")


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
