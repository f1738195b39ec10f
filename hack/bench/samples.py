"""CPU time by function: records processes by perf(1), and sorts each of their samples into a group."""

import os
import re
import subprocess
import sys
from collections import Counter

FREQUENCY = 20_000
MICROSECONDS = 1e6 / FREQUENCY  # of one sample
KERNEL = 1 << 63

OWN, FAULTS, SECOND, START, PROGRAM = (
    "own code",
    "page faults",
    "second execution: the first one up to execveat(2), and the close of its mount",
    "start of the process: execve(2)",
    "the program, and its execve(2)",
)
REST = "all else"
# A group and the system calls in it, as the kernel names their functions.
SYSTEM_CALLS = {
    "namespaces and processes: clone3(2), unshare(2), setns(2)": "clone clone3 fork vfork unshare setns ret_from_fork",
    "mounts by path: mount(2), pivot_root(2), umount2(2)": "mount pivot_root umount oldumount",
    "mounts by descriptor: fsopen(2), fsconfig(2), fsmount(2), open_tree(2), mount_setattr(2), move_mount(2)":
        "fsopen fsconfig fsmount open_tree open_tree_attr mount_setattr move_mount fspick",
    "openat2(2), openat(2), close(2)": "open openat openat2 close close_range",
    "directories, nodes and links: mkdir(2), rmdir(2), mknod(2), symlink(2), unlink(2), and their `at` forms":
        "mkdir mkdirat rmdir unlink unlinkat mknod mknodat symlink symlinkat link linkat rename renameat renameat2",
    "looks: access(2), stat(2), statfs(2), readlink(2), getdents64(2)":
        "access faccessat faccessat2 chdir fchdir chroot stat newstat lstat newlstat fstat newfstat newfstatat statx statfs fstatfs "
        "readlink readlinkat getdents64 name_to_handle_at",
    "read(2), write(2)": "read write pread64 pwrite64 readv writev preadv pwritev sendfile copy_file_range",
    "identity: capset(2), prctl(2), setresuid(2), keyctl(2), seccomp(2) and the like":
        "capset capget prctl setuid setgid setresuid setresgid setgroups getuid geteuid getgid getegid keyctl add_key seccomp setsid "
        "setpgid umask prlimit64 sched_setaffinity sched_getaffinity personality sethostname setdomainname",
    "memory: mmap(2), munmap(2), mprotect(2), brk(2)": "mmap mmap_pgoff vm_mmap_pgoff munmap mprotect mremap brk madvise memfd_create ftruncate",
    "sockets, pipes and descriptors: socket(2), ioctl(2), fcntl(2), pipe2(2), poll(2)":
        "socket socketpair bind connect sendto recvfrom sendmsg recvmsg ioctl fcntl pipe2 pipe poll ppoll dup dup2 dup3 eventfd2 "
        "setsockopt getsockname epoll_create1 epoll_ctl epoll_wait signalfd4",
    "signals and waits: rt_sigaction(2), kill(2), pidfd_open(2), waitid(2), futex(2)":
        "kill tgkill tkill rt_sigaction rt_sigprocmask sigaltstack pidfd_open pidfd_send_signal pidfd_getfd wait4 kernel_wait4 waitid futex rt_sigtimedwait rt_sigsuspend pause nanosleep "
        "clock_nanosleep",
    "the end of processes: exit_group(2)": "exit exit_group do_exit do_group_exit",
    "entering and leaving the kernel": "entry",
}
GROUP_OF = {call: group for group, calls in SYSTEM_CALLS.items() for call in calls.split()}
PREFIX = re.compile(r"^(__x64_sys_|__arm64_sys_|__do_sys_|__sys_|__se_sys_|do_sys_|ksys_)")


class Recording:
    """perf record of the whole machine, of which the descendants of some processes count. (Recorded by itself, a process
    is without its end: the kernel closes its events before it frees its memory and namespaces.)"""

    def __init__(self, roots, directory):
        self.data, self.roots = directory / "perf.data", set(roots)
        pipes = [directory / name for name in ("control", "ack")]
        for pipe in pipes:
            os.mkfifo(pipe)
        command = ["perf", "record", "--quiet", "--all-cpus", "-e", "cpu-clock:I", "-F", str(FREQUENCY), "-g", "-m", "4M"]
        command += ["--no-buildid", "-D", "-1", "--control", f"fifo:{pipes[0]},{pipes[1]}", "-o", self.data]
        self.log = open(directory / "log", "w+")
        self.perf = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, process_group=0)
        # Opened for both, so that a perf that has ended is seen by its status and not waited for.
        self.control, self.ack = (os.open(pipe, os.O_RDWR) for pipe in pipes)

    def ask(self, word):
        os.write(self.control, f"{word}\n".encode())
        os.set_blocking(self.ack, False)
        answer = b""
        while b"ack" not in answer:
            if self.perf.poll() is not None:
                self.log.seek(0)
                raise SystemExit(f"bench: perf record ended: {self.log.read().strip()}")
            try:
                answer += os.read(self.ack, 64)
            except BlockingIOError:
                os.sched_yield()

    def __enter__(self):
        self.ask("enable")
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.ask("stop")
        else:
            self.perf.terminate()
        self.perf.wait()
        for fd in (self.control, self.ack):
            os.close(fd)


def is_subject(group):
    """Whether this is a part of own code, whose samples are in that as well."""
    return isinstance(group, tuple) and group[0] == OWN


class Process:
    def __init__(self, root, is_command, maps=()):
        self.root = root  # the recorded process that it descends from
        self.is_command = is_command  # a child of that
        self.executions, self.counts, self.maps = 0, Counter(), list(maps)

    def executes(self):
        self.executions += 1
        self.maps = []
        if self.is_command and self.executions == 2:
            started = self.counts[START]
            before = sum(count for group, count in self.counts.items() if group != START and not is_subject(group))
            self.counts = Counter({START: started, SECOND: before})


def read(recording, name_of):
    """Root → samples of each group. `name_of(path, offset)` gives the subject of own code at a place of a file."""
    processes, everyone, lost = {}, [], 0
    totals = {pid: Counter() for pid in recording.roots}
    for kind, pid, what in parse(recording.data):
        if kind == "fork":
            if what in recording.roots:
                processes[pid] = Process(what, True)
            elif what in processes:
                processes[pid] = Process(processes[what].root, False, processes[what].maps)
            else:  # a stranger, who may have the pid of one that has ended
                processes.pop(pid, None)
                continue
            everyone.append(processes[pid])
        elif kind == "lost":
            lost += what
        elif process := processes.get(pid):
            if kind == "exec":
                process.executes()
            elif kind == "map":
                process.maps.append(what)
            else:
                process.counts.update(sort(process, what, name_of))
    if lost:
        print(f"profile: perf lost {lost} samples: other work keeps it from writing", file=sys.stderr)
    for process in everyone:
        totals[process.root].update(process.counts)
    return totals


def sort(process, frames, name_of):
    """The group of a sample; of own code a subject as well."""
    call = where(frames)
    executed = process.executions > 0
    if not process.is_command and (executed or call == "execve"):
        return [PROGRAM]
    if process.is_command and (not executed or (call == "execve" and process.executions == 1)):
        return [START]
    if call == "execveat" or (call == "close" and any(name.startswith("synchronize_rcu_expedited ") for _, name in frames)):
        return [SECOND]
    if call == OWN:
        subject = name_of(*place(process, *frames[0]))
        return [OWN, (OWN, subject)] if subject else [OWN]
    return [call if call == FAULTS else GROUP_OF.get(call, (REST, call))]


def place(process, address, file):
    """The file of an address, and where it is there. perf prints an address of the file itself if it can open the file."""
    for start, end, offset, path in process.maps:
        if start <= address < end:
            return path, address - start + offset
    return file.rpartition("(")[2].rstrip(")"), address


def where(frames):
    """What the process is in: a system call, a page fault, or its own code. The outermost counts."""
    if frames[0][0] < KERNEL:
        return OWN
    names = [name.split(" ")[0] for address, name in frames if address >= KERNEL]
    for index in range(len(names) - 1, -1, -1):
        name = names[index]
        if name == "asm_exc_page_fault":
            return FAULTS
        if name.startswith(("__x64_sys_", "__arm64_sys_")):
            return PREFIX.sub("", name)
        if name in ("do_syscall_64", "el0_svc"):
            inner = next((inner for inner in reversed(names[:index]) if not inner.startswith(("x64_sys_call", "__x86_indirect"))), "entry")
            if inner == "exit_to_user_mode_loop":
                return left_over(names)
            return PREFIX.sub("", inner)
        if name.startswith("ret_from_fork"):
            return "ret_from_fork"
        if name.startswith(("asm_sysvec", "asm_common_interrupt")):
            return "interrupts"
    return "entry" if any(name.startswith(("entry_SYSCALL", "syscall_", "do_syscall", "__x86_indirect")) for name in names) else names[0]


def left_over(names):
    """Of what a system call has left to its end, the files that close(2) closes are most."""
    return next((call for name, call in (("__fput", "close"), ("do_group_exit", "exit_group")) if name in names), "task work")


HEADER = re.compile(r"^\S.*?\s(\d+)\s*(?:PERF_RECORD_(.*))?$")
MAP = re.compile(r"\[0x([0-9a-f]+)\(0x([0-9a-f]+)\) @ (\w+) .*\]: \S*x\S* (.*)$")


def parse(data):
    """(kind, pid, what): what happened, in its order."""
    command = ["perf", "script", "-i", data, "--show-task-events", "--show-mmap-events", "--show-lost-events", "--no-inline", "-F", "comm,pid,ip,sym,dso"]
    script = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace")
    pid, frames = None, []
    for line in script.stdout:
        if line[0] in "\t ":
            address, _, name = line.strip().partition(" ")
            frames.append((int(address, 16), name))
        elif line == "\n":
            if frames:
                yield "sample", pid, frames
            frames = []
        elif match := HEADER.match(line.rstrip()):
            pid = int(match[1])
            if event := match[2]:
                yield from task_event(pid, event)
    if script.wait():
        raise SystemExit("bench: perf script failed")


def task_event(pid, event):
    if match := re.match(r"FORK\((\d+):\d+\):\((\d+):", event):
        if match[1] != match[2]:  # a thread is its process
            yield "fork", int(match[1]), int(match[2])
    elif event.startswith("COMM exec"):
        yield "exec", pid, None
    elif match := re.match(r"LOST\w* lost (\d+)", event):
        yield "lost", pid, int(match[1])
    elif event.startswith("MMAP") and (match := MAP.search(event)):
        start, size = int(match[1], 16), int(match[2], 16)
        yield "map", pid, (start, start + size, int(match[3], 0), match[4])
