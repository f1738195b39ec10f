"""Checks of integration/cri: what ends or is replaced under running pods, and runtime handlers."""

import os
import re
import signal

from cri_lib import *


def check_restart():
    for how in (signal.SIGTERM, signal.SIGKILL):
        with Pod() as pod:
            a = pod.shell("trap 'exit 9' TERM; echo before; while ! [ -e /more ]; do sleep 0.05; done; echo after; "
                          "sleep 100000 & wait")
            b = pod.shell("while ! [ -e /mnt/go ]; do sleep 0.05; done; exit 6",
                          mounts=[{"container_path": "/mnt", "host_path": f"{directory}/logs"}])
            a.wait_for("before")
            engine.stop(how)
            with open(f"{directory}/logs/go", "w", encoding="utf-8"):
                pass
            until(lambda: not cgroup(b, "cgroup.procs"))
            engine.start()
            name = f"restart after {how.name}"
            equal(f"{name}: ready", True, engine.ready())
            os.remove(f"{directory}/logs/go")
            equal(f"{name}: the pod is there", READY, pod.status()["state"])
            equal(f"{name}: the container runs", RUNNING, a.state())
            status = b.wait()
            # containerd 2 clears such a task away as it starts, without asking for its status.
            known = 6 if engine.version < (2, 0) else 255
            equal(f"{name}: an exit meanwhile is noticed", (EXITED, known), (status["state"], status["exit_code"]))
            equal(f"{name}: exec", (0, "", ""), a.exec("touch", "/more"))
            matches(f"{name}: the log goes on", "before\nafter", a.wait_for("after"))
            a.stop(timeout=10)
            equal(f"{name}: stop", 9, a.status()["exit_code"])
            equal(f"{name}: a new container", "0: new", pod.run("echo new"))


def check_replaced():
    """The runtime's file is replaced by another while its containers run, as a package's upgrade does."""
    path = f"{directory}/bin/runtime"
    with Pod(handler="replaced") as pod:
        c = pod.ready("trap 'exit 8' TERM; echo ready; sleep 100000 & wait")
        command("cp", path, path + ".new")
        os.rename(path + ".new", path)
        equal("replaced runtime: exec", "0: hello", c.sh("echo hello"))
        equal("replaced runtime: a new container", "0: new", pod.run("echo new"))
        c.stop(timeout=10)
        equal("replaced runtime: stop", 8, c.status()["exit_code"])
        c.remove()


def check_shim():
    if engine.version >= (2, 0):
        skipped("shim killed: containerd 2 lets the pod's containers run on, whatever the runtime")
        return
    sockets = set(os.listdir("/run/containerd/s"))
    with Pod() as pod:
        c = pod.sleeper()
        pid = c.pid()
        with open(f"/proc/{pid}/status", encoding="utf-8") as file:
            shim = int(re.search(r"^PPid:\t(\d+)", file.read(), re.MULTILINE).group(1))
        os.kill(shim, signal.SIGKILL)
        status = c.wait()
        equal("shim killed: the container has ended", EXITED, status["state"])
        equal("shim killed: none of its processes runs", True, until(lambda: not os.path.exists(f"/proc/{pid}")))
        equal("shim killed: the pod is not ready", True, until(lambda: pod.status()["state"] == NOT_READY))
        equal("shim killed: the runtime lists neither", True,
              until(lambda: not {c.id, pod.id} & set(runtime_list().split())), runtime_list())
        c.remove()
    refused("shim killed: the pod can be removed", "NOT_FOUND", pod.status)
    for name in set(os.listdir("/run/containerd/s")) - sockets:
        os.remove(f"/run/containerd/s/{name}")  # which containerd leaves behind


def check_pause():
    if engine.version >= (2, 0):
        skipped("pause process killed: containerd 2 leaves the pod's shim behind, whatever the runtime")
        return
    with Pod(pid=POD) as pod:
        c = pod.sleeper()
        os.kill(pod.pid(), signal.SIGKILL)
        equal("pause process killed: the pod is not ready", True, until(lambda: pod.status()["state"] == NOT_READY))
        status = c.wait()
        equal("pause process killed: it takes its pid namespace along", (EXITED, 137),
              (status["state"], status["exit_code"]))
        refused("pause process killed: no new container", "no running task found|not ready", pod.start, "true")


def check_handler():
    with Pod(handler="other") as pod:
        equal("handler: its name", "other", pod.status()["runtime_handler"])
        c = pod.sleeper()
        equal("handler: its options: another root", {pod.id, c.id}, set(os.listdir(f"{directory}/other/k8s.io")))
        equal("handler: exec", "0: hello", c.sh("echo hello"))
    refused("handler: unknown", 'no runtime for "no-such-handler" is configured', Pod, handler="no-such-handler")


QUICK = [check_restart]
MORE = [check_replaced, check_shim, check_pause, check_handler]
