"""What the checks of integration/cri are written with: results, containerd, pods and containers."""

import glob
import os
import re
import signal
import subprocess
import sys
import threading
import time

import cri_client

runtime, subject, token, directory = (os.environ[name] for name in ("runtime", "subject", "token", "dir"))
quick = "FERRUN_QUICK" in os.environ

IMAGE = "docker.io/library/busybox:ferrun"
READY, NOT_READY = 0, 1
CREATED, RUNNING, EXITED = 0, 1, 2
POD, CONTAINER, NODE, TARGET = 0, 1, 2, 3
RUNTIME_DEFAULT, UNCONFINED, LOCALHOST = 0, 1, 2

# ---- results, as lib.sh prints and counts them ----


def result(line):
    print(line, flush=True)
    with open(os.environ["FERRUN_RESULTS"], "a", encoding="utf-8") as file:
        file.write(line + "\n")


def passed(name):
    result(f"ok - {subject}: {name}")


def failed(name, *details):
    result(f"not ok - {subject}: {name}")
    for line in "\n".join(map(str, details)).splitlines()[:25]:
        print(f"#     {line[:300]}", flush=True)


def skipped(name):
    result(f"skip - {subject}: {name}")
    if os.environ.get("FERRUN_SKIPS"):
        with open(os.environ["FERRUN_SKIPS"], "a", encoding="utf-8") as file:
            file.write(f"{subject}: {name}\n")


def equal(name, wanted, got, *details):
    if wanted == got:
        passed(name)
    else:
        failed(name, f"wanted: {wanted!r}", f"got:    {got!r}", *details)


def matches(name, pattern, got, *details):
    if re.search(pattern, got, re.DOTALL):
        passed(name)
    else:
        failed(name, f"wanted a match of: {pattern}", f"got: {got}", *details)


def refused(name, pattern, function, /, *arguments, **options):
    """That a call fails, with a message that matches."""
    try:
        got = f"no error, but {function(*arguments, **options)!r}"
    except cri_client.Error as error:
        got = str(error)
    matches(name, pattern, got)


def until(condition, seconds=10):
    """Waits for a condition; its last value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return value


def at_once(function, arguments):
    """Calls a function with each argument in a thread of its own: the results in order."""
    arguments = list(arguments)
    results = [None] * len(arguments)

    def call(index):
        try:
            results[index] = function(arguments[index])
        except Exception as error:  # shown as the result
            results[index] = repr(error)

    threads = [threading.Thread(target=call, args=(index,)) for index in range(len(arguments))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


# ---- containerd ----


def command(*arguments, patience=20):
    """Runs a program to its end: its output, with standard error."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(arguments, timeout=patience, check=False, **streams)
    return done.stdout.decode(errors="replace")


def ctr(*arguments):
    return command("ctr", "--address", f"{directory}/socket", "--namespace", "k8s.io", *arguments)


class Engine:
    """containerd, which outlives this program: what it leaves behind is looked at afterwards."""

    def __init__(self):
        self.version = tuple(map(int, re.search(r"\b(\d+)\.(\d+)\.", command("containerd", "--version")).groups()))
        self.process = None

    def start(self):
        program = ["containerd", "--config", f"{directory}/config.toml"]
        with open(f"{directory}/containerd.log", "ab") as log:
            self.process = subprocess.Popen(program, stdout=log, stderr=log)
        with open(f"{directory}/pid", "w", encoding="utf-8") as file:
            file.write(str(self.process.pid))

    def ready(self):
        """Waits until the CRI plugin answers that runtime and network are ready."""
        return until(lambda: {"RuntimeReady", "NetworkReady"} <= conditions(), 20)

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(20)

    def log(self):
        return command("tail", "-n", "8", f"{directory}/containerd.log")


def conditions():
    """Those that are met."""
    try:
        return {each["type"] for each in cri("Status", patience=5)["status"]["conditions"] if each["status"]}
    except cri_client.Error:
        return set()


engine = Engine()
cri = cri_client.Client(f"{directory}/socket")


def runtime_list():
    """The containers of the default handler, as their runtime shows them."""
    return command(runtime, "--root", "/run/containerd/runc/k8s.io", "list")


def runtime_state(container):
    return command(runtime, "--root", "/run/containerd/runc/k8s.io", "state", container)


# ---- pods and containers ----

names = 0


def new_name(kind):
    global names
    names += 1
    return f"{kind}{names}"


class Pod:
    """A pod sandbox; `with` stops and removes it. Options are those of PodSandboxConfig, and shortcuts."""

    def __init__(self, network=POD, pid=CONTAINER, ipc=POD, handler="", privileged=False, sysctls=None, security=None,
                 userns=None, **options):
        self.namespaces = {"network": network, "pid": pid, "ipc": ipc}
        if userns:
            self.namespaces["userns_options"] = userns
        name = new_name("pod")
        self.privileged = privileged
        security = {"namespace_options": self.namespaces, "privileged": privileged, **(security or {})}
        self.config = {
            "metadata": {"name": name, "uid": f"{token}-{name}", "namespace": "default"},
            "log_directory": f"{directory}/logs/{name}",
            "linux": {"cgroup_parent": f"/{token}", "sysctls": sysctls or {}, "security_context": security},
            **options,
        }
        os.makedirs(self.config["log_directory"])
        self.id = cri("RunPodSandbox", config=self.config, runtime_handler=handler)["pod_sandbox_id"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()

    def status(self):
        return cri("PodSandboxStatus", pod_sandbox_id=self.id)["status"]

    def pid(self):
        return pid_of(self.id)

    def stop(self):
        cri("StopPodSandbox", pod_sandbox_id=self.id)

    def remove(self):
        self.stop()
        cri("RemovePodSandbox", pod_sandbox_id=self.id)

    def create(self, *arguments, **options):
        return Container(self, arguments, **options)

    def start(self, *arguments, **options):
        container = Container(self, arguments, **options)
        container.start()
        return container

    def shell(self, script, **options):
        return self.start("sh", "-c", script, **options)

    def ready(self, script, **options):
        """A container whose script says `ready`, which it has done."""
        container = self.shell(script, **options)
        container.wait_for("ready")
        return container

    def sleeper(self, **options):
        """A container that does nothing, and ends on TERM at once."""
        return self.shell("trap 'exit 0' TERM; sleep 100000 & wait", **options)

    def run(self, script, **options):
        """A container from start to end: "STATUS: OUTPUT", standard error included."""
        container = self.shell(script, **options)
        status = container.wait()
        text = container.output()
        container.remove()
        return f"{status['exit_code']}: {text.strip()}"


class Container:
    """A container of a pod. Options are those of ContainerConfig, and shortcuts."""

    def __init__(self, pod, arguments, name=None, attempt=0, security=None, resources=None, namespaces=None, env=None,
                 **options):
        name = name or new_name("container")
        namespaces = {**pod.namespaces, **(namespaces or {})}
        security = {"namespace_options": namespaces, "privileged": pod.privileged, **(security or {})}
        self.pod = pod
        self.config = {
            "metadata": {"name": name, "attempt": attempt},
            "image": {"image": IMAGE},
            "command": list(arguments),
            "envs": [{"key": key, "value": value} for key, value in (env or {}).items()],
            "log_path": f"{name}.{attempt}.log",
            "linux": {"resources": resources or {}, "security_context": security},
            **options,
        }
        self.log = f"{pod.config['log_directory']}/{self.config['log_path']}"
        created = cri("CreateContainer", pod_sandbox_id=pod.id, config=self.config, sandbox_config=pod.config)
        self.id = created["container_id"]

    def start(self):
        cri("StartContainer", container_id=self.id)

    def status(self):
        return cri("ContainerStatus", container_id=self.id)["status"]

    def state(self):
        return self.status()["state"]

    def wait(self, seconds=15):
        """Until it has ended; its status."""
        until(lambda: self.state() == EXITED, seconds)
        return self.status()

    def stop(self, timeout=0):
        cri("StopContainer", container_id=self.id, timeout=timeout)

    def remove(self):
        cri("RemoveContainer", container_id=self.id)

    def lines(self, path=None):
        """The log as (stream, tag, text)."""
        try:
            with open(path or self.log, encoding="utf-8", newline="\n") as file:
                return [tuple(line.rstrip("\n").split(" ", 3)[1:]) for line in file]
        except FileNotFoundError:
            return []

    def output(self):
        return "".join(text + ("\n" if tag == "F" else "") for _, tag, text in self.lines())

    def wait_for(self, text):
        """Until the log has a text; the log."""
        until(lambda: text in self.output())
        return self.output()

    def exec(self, *arguments, timeout=15):
        """ExecSync: (status, stdout, stderr)."""
        got = cri("ExecSync", container_id=self.id, cmd=list(arguments), timeout=timeout)
        return got["exit_code"], got["stdout"].decode(), got["stderr"].decode()

    def sh(self, script):
        """A shell script in the container: "STATUS: OUTPUT"."""
        status, out, err = self.exec("sh", "-c", script)
        return f"{status}: {(out + err).strip()}"

    def stream(self, *arguments, stdin=True, tty=False):
        """Exec: a stream."""
        url = cri("Exec", container_id=self.id, cmd=list(arguments), stdin=stdin, tty=tty, stdout=True, stderr=not tty)
        return cri_client.Stream(url["url"])

    def attach(self, stdin=True, tty=False):
        url = cri("Attach", container_id=self.id, stdin=stdin, tty=tty, stdout=True, stderr=not tty)
        return cri_client.Stream(url["url"])

    def pid(self):
        return pid_of(self.id)


def pid_of(container):
    """The first process of a container or a pod's sandbox, as this pid namespace has it."""
    return int(re.search(rf"^{container}\s+(\d+)", ctr("task", "ls"), re.MULTILINE).group(1))


def cgroup(container, v1, v2=None):
    """A file of a container's cgroup; empty without it."""
    for name in filter(None, (v1, v2)):
        for tree in ("/sys/fs/cgroup", "/sys/fs/cgroup/*"):
            for path in glob.glob(f"{tree}/{token}/{container.id}/{name}"):
                with open(path, encoding="utf-8") as file:
                    return file.read().strip()
    return ""


def processes(arguments):
    """The processes with this command line, in this pid namespace."""
    found = []
    for process in os.listdir("/proc"):
        try:
            with open(f"/proc/{process}/cmdline", "rb") as file:
                if file.read().replace(b"\0", b" ").decode().strip() == arguments:
                    found.append(process)
        except (OSError, UnicodeDecodeError):
            pass
    return found


def call_each(functions):
    """Runs checks, each of which may end with an exception: a failure as well."""
    for function in functions:
        begun = time.monotonic()
        try:
            function()
        except Exception as error:
            failed(f"{function.__name__}: no exception", f"{type(error).__name__}: {error}", where(error), engine.log())
        if os.environ.get("CRI_TIMES"):
            print(f"# {function.__name__}: {time.monotonic() - begun:.1f} s", flush=True)


def where(error):
    trace = error.__traceback__
    lines = []
    while trace:
        lines.append(f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " ".join(lines)


def end(status):
    sys.stdout.flush()
    os._exit(status)  # without waiting for a thread that hangs
