#!/usr/bin/python3
"""The checks of integration/cri. Here: the service, pods, the life of their containers, statistics, limits."""

import os
import re
import time

import cri_exec
import cri_faults
import cri_security
from cri_lib import *


def check_service():
    version = cri("Version")
    equal("service: containerd, runtime.v1", ("containerd", "v1"),
          (version["runtime_name"], version["runtime_api_version"]))
    equal("service: runtime and network are ready", True, {"RuntimeReady", "NetworkReady"} <= conditions())
    handlers = {each["name"]: each["features"] for each in cri("Status")["runtime_handlers"]}
    if engine.version >= (2, 0):
        equal("service: runtime handlers", ["", "other", "replaced", "runc"], sorted(handlers))


def check_pod():
    labels = {"app": token, "tier": "a"}
    dns = {"servers": ["10.1.2.3"], "searches": ["example.org"], "options": ["ndots:5"]}
    with Pod(hostname="in-pod", labels=labels, annotations={"org.example.key": "a value"}, dns_config=dns) as pod:
        status = pod.status()
        equal("pod: ready", READY, status["state"])
        matches("pod: an address", r"^10\.88\.", status["network"]["ip"])
        equal("pod: labels", labels, status["labels"])
        listed = lambda **by: [each["id"] for each in cri("ListPodSandbox", filter=by)["items"]]
        equal("pod: listed by its label", [pod.id], listed(label_selector={"app": token}))
        equal("pod: not listed as not ready", [], listed(id=pod.id, state={"state": NOT_READY}))
        matches("pod: the runtime lists it", rf"{pod.id} +\d+ +running ", runtime_list())
        a, b = pod.sleeper(), pod.sleeper(annotations={"org.example.other": "b"})
        equal("pod: hostname", "0: in-pod", a.sh("hostname"))
        equal("pod: DNS", "0: search example.org nameserver 10.1.2.3 options ndots:5",
              a.sh("echo $(cat /etc/resolv.conf)"))
        for each in ("net", "ipc", "uts"):
            script = f"readlink /proc/self/ns/{each}"
            equal(f"pod: containers share {each}", a.sh(script), b.sh(script))
        for each in ("pid", "mnt"):
            script = f"readlink /proc/self/ns/{each}"
            equal(f"pod: each has its own {each}", False, a.sh(script) == b.sh(script))
        a.sh("echo shared >/dev/shm/file")
        equal("pod: containers share /dev/shm", "0: shared", b.sh("cat /dev/shm/file"))
        b.exec("sh", "-c", "nc -l -p 80 -e echo hello >/dev/null 2>&1 &")
        until(lambda: ":0050 " in b.sh("cat /proc/net/tcp /proc/net/tcp6"))
        equal("pod: containers share localhost", "0: hello", a.sh("nc -w 5 127.0.0.1 80"))
        matches("pod: its annotation reaches the runtime", '"org.example.key": *"a value"', runtime_state(pod.id))
        matches("pod: its annotation reaches the containers", '"org.example.key": *"a value"', runtime_state(a.id))
        matches("container: its annotation reaches the runtime", '"org.example.other": *"b"', runtime_state(b.id))
        with Pod() as other:
            c = other.sleeper()
            matches("pod: reaches another's address", " 0% packet loss",
                    c.sh(f"ping -c 1 -W 5 {status['network']['ip']}"))
            script = "readlink /proc/self/ns/net"
            equal("pod: another has its own net", False, a.sh(script) == c.sh(script))
        pod.stop()
        status = pod.status()
        equal("pod: not ready once stopped", NOT_READY, status["state"])
        equal("pod: its containers have ended", (EXITED, EXITED), (a.state(), b.state()))
        equal("pod: stopped twice", None, pod.stop())
    refused("pod: unknown once removed", "NOT_FOUND", pod.status)
    equal("pod: the runtime lists it no more", False, pod.id in runtime_list())


def check_lifecycle():
    with Pod(pid=POD) as pod:
        c = pod.create("sh", "-c", "sleep 0.2; exit 0")
        equal("container: created", CREATED, c.state())
        refused("container: no exec before start", "is in CONTAINER_CREATED state", c.exec, "true")
        c.start()
        status = c.wait()
        equal("container: Completed", (EXITED, 0, "Completed"),
              (status["state"], status["exit_code"], status["reason"]))
        equal("container: its moments are in order", True,
              0 < status["created_at"] <= status["started_at"] <= status["finished_at"])
        refused("container: not started twice", "not in created state|CONTAINER_EXITED", c.start)
        refused("container: no exec after exit", "CONTAINER_EXITED", c.exec, "true")
        status = pod.shell("exit 3").wait()
        equal("container: Error", (3, "Error"), (status["exit_code"], status["reason"]))
        status = pod.shell("kill -KILL $$").wait()
        equal("container: killed by KILL is 137", (137, "Error"), (status["exit_code"], status["reason"]))
        status = pod.shell("kill -TERM $$").wait()
        equal("container: killed by TERM is 143", (143, "Error"), (status["exit_code"], status["reason"]))

        again = pod.create("sh", "-c", "exit 4", name=c.config["metadata"]["name"], attempt=1)
        again.start()
        status = again.wait()
        equal("container: restarted as attempt 1", (4, 1), (status["exit_code"], status["metadata"]["attempt"]))
        refused("container: not the same attempt twice", "is reserved", pod.create, "true",
                name=c.config["metadata"]["name"], attempt=1)
        running = pod.sleeper(labels={"key": "value"})
        within = {"pod_sandbox_id": pod.id}
        listed = lambda **by: [each["id"] for each in cri("ListContainers", filter={**within, **by})["containers"]]
        equal("container: listed by state", [running.id], listed(state={"state": RUNNING}))
        equal("container: listed by label", [running.id], listed(label_selector={"key": "value"}))
        equal("container: listed by pod", 6, len(listed()))
        running.remove()
        equal("container: a running one is removed", [], listed(id=running.id))
        refused("container: unknown once removed", "NOT_FOUND", running.status)
        equal("container: removed twice", None, running.remove())


def check_start_errors():
    with Pod() as pod:
        for name, program, message in (
            ("missing from PATH", "no-such-program", r'"?no-such-program"?: executable file not found in \$PATH'),
            ("missing path", "/no/such/program", "/no/such/program.*no such file or directory"),
            ("not executable", "/etc/not-executable", "/etc/not-executable.*permission denied"),
            ("a directory", "/etc", "/etc.*(permission denied|is a directory)"),
        ):
            c = pod.create(program)
            refused(f"start: {name}", message, c.start)
            status = c.status()
            equal(f"start: {name}: StartError", (EXITED, 128, "StartError"),
                  (status["state"], status["exit_code"], status["reason"]))
            matches(f"start: {name}: the status says why", message, status["message"])
        c = pod.create("true", working_dir="/etc/passwd/directory")
        refused("start: a working directory below a file", "not a directory", c.start)
        equal("start: a working directory that does not exist is made", "0: /new/directory",
              pod.run("pwd", working_dir="/new/directory"))
        equal("start: the pod is still good", "0: good", pod.run("echo good"))


def check_stop():
    with Pod() as pod:
        c = pod.ready("trap 'sleep 0.3; exit 42' TERM; echo ready; while :; do sleep 0.05; done")
        c.stop(timeout=10)
        equal("stop: a handler of TERM", (EXITED, 42), (c.state(), c.status()["exit_code"]))
        c = pod.ready("trap '' TERM; echo ready; exec sleep 100000")
        begun = time.monotonic()
        c.stop(timeout=1)
        equal("stop: KILL after the timeout", (EXITED, 137), (c.state(), c.status()["exit_code"]))
        equal("stop: not before it", True, time.monotonic() - begun >= 1)
        c.stop(timeout=1)
        passed("stop: of a stopped one")
        c = pod.ready("echo ready; exec sleep 100000")
        c.stop(timeout=0)
        equal("stop: at once", (EXITED, 137), (c.state(), c.status()["exit_code"]))
        c = pod.ready("sleep 100001 & sleep 100001 & echo ready; wait")
        c.stop()
        equal("stop: nothing of it goes on", [], processes("sleep 100001"))


def check_stats():
    with Pod() as pod:
        c = pod.sleeper(resources={"memory_limit_in_bytes": 64 << 20})
        c.sh("head -c 3000000 /dev/zero | sha256sum; head -c 1000000 /dev/zero >/file; sync")
        stats = cri("ContainerStats", container_id=c.id)["stats"]
        equal("stats: whose", c.id, stats["attributes"]["id"])
        equal("stats: CPU", True, (stats["cpu"]["usage_core_nano_seconds"] or 0) > 1000000)
        equal("stats: memory", True, 0 < (stats["memory"]["working_set_bytes"] or 0) < 64 << 20)
        listed = cri("ListContainerStats", filter={"pod_sandbox_id": pod.id})["stats"]
        equal("stats: listed by pod", [c.id], [each["attributes"]["id"] for each in listed])
        stats = cri("PodSandboxStats", pod_sandbox_id=pod.id)["stats"]
        equal("stats: pod: CPU", True, (stats["linux"]["cpu"]["usage_core_nano_seconds"] or 0) > 1000000)
        equal("stats: pod: memory", True, (stats["linux"]["memory"]["usage_bytes"] or 0) > 0)
        equal("stats: pod: processes", True, (stats["linux"]["process"]["process_count"] or 0) >= 2)
        equal("stats: pod: containers", [c.id], [each["attributes"]["id"] for each in stats["linux"]["containers"]])


def check_resources():
    with Pod() as pod:
        limits = {"memory_limit_in_bytes": 64 << 20, "cpu_period": 50000, "cpu_quota": 25000, "cpu_shares": 512,
                  "cpuset_cpus": "0", "oom_score_adj": 777}
        if hugetlb := os.path.exists("/sys/fs/cgroup/hugetlb"):
            limits["hugepage_limits"] = [{"page_size": "2MB", "limit": 4 << 20}]
        c = pod.sleeper(resources=limits)
        equal("resources: memory", str(64 << 20), cgroup(c, "memory.limit_in_bytes", "memory.max"))
        equal("resources: CPU quota", "25000", cgroup(c, "cpu.cfs_quota_us", "cpu.max").split(" ")[0])
        equal("resources: CPU period", "50000", cgroup(c, "cpu.cfs_period_us", "cpu.max").split(" ")[-1])
        equal("resources: cpuset", "0", cgroup(c, "cpuset.cpus"))
        with open(f"/proc/{c.pid()}/cgroup", encoding="utf-8") as file:
            equal("resources: in its cgroup", {f"/{token}/{c.id}"}, {
                line.split(":")[2] for line in file.read().splitlines()
                if re.search(r":(memory|cpu|pids|devices|freezer):|^0::/.", line)
            })
        matches("resources: the cgroups are read-only", "Read-only file system",
                c.sh("mkdir /sys/fs/cgroup/new /sys/fs/cgroup/memory/new"))
        equal("resources: oom_score_adj", "0: 777", c.sh("cat /proc/1/oom_score_adj"))
        equal("resources: oom_score_adj of exec", "0: 777", c.sh("cat /proc/self/oom_score_adj"))
        if cgroup(c, "cpu.shares"):
            equal("resources: CPU shares", "512", cgroup(c, "cpu.shares"))
        if hugetlb:
            equal("resources: huge pages", str(4 << 20), cgroup(c, "hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max"))
        cri("UpdateContainerResources", container_id=c.id,
            linux={"memory_limit_in_bytes": 96 << 20, "cpu_period": 100000, "cpu_quota": 70000, "cpu_shares": 256})
        equal("update: memory", str(96 << 20), cgroup(c, "memory.limit_in_bytes", "memory.max"))
        equal("update: CPU quota", "70000", cgroup(c, "cpu.cfs_quota_us", "cpu.max").split(" ")[0])
        if cgroup(c, "cpu.shares"):
            equal("update: CPU shares", "256", cgroup(c, "cpu.shares"))
        equal("update: the rest stays", "0", cgroup(c, "cpuset.cpus"))
        created = pod.create("sh", "-c", "sleep 100000 & wait")
        cri("UpdateContainerResources", container_id=created.id, linux={"memory_limit_in_bytes": 48 << 20})
        created.start()
        equal("update: before start", str(48 << 20), cgroup(created, "memory.limit_in_bytes", "memory.max"))


def check_oom():
    with Pod() as pod:
        c = pod.start("tail", "/dev/zero", resources={"memory_limit_in_bytes": 16 << 20})
        c.wait(30)
        until(lambda: c.status()["reason"] == "OOMKilled")
        status = c.status()
        equal("OOM: the reason", ("OOMKilled", 137), (status["reason"], status["exit_code"]))
        c = pod.sleeper(resources={"memory_limit_in_bytes": 16 << 20})
        equal("OOM: of an exec", 137, c.exec("tail", "/dev/zero")[0])
        equal("OOM: of an exec: the container goes on", RUNNING, c.state())


def check_at_once():
    def whole(index):
        with Pod() as pod:
            return [pod.run(f"echo {index}.{each}; exit {each}") for each in range(2)]

    equal("at once: 4 pods", [[f"0: {i}.0", f"1: {i}.1"] for i in range(4)], at_once(whole, range(4)))


QUICK = [check_service, check_pod, check_lifecycle, check_start_errors, check_oom]
MORE = [check_stop, check_stats, check_resources, check_at_once]


def main():
    engine.start()
    ready = engine.ready()
    imported = "".join(ctr("images", "import", f"{directory}/{name}.tar") for name in ("busybox", "pause"))
    known = lambda: {tag for image in cri("ListImages")["images"] for tag in image["repo_tags"]}
    if not ready or not until(lambda: len(known()) == 2):
        failed("containerd starts and imports images", imported, engine.log())
        end(1)
    modules = (cri_exec, cri_security, cri_faults)
    call_each([*QUICK, *(check for module in modules for check in module.QUICK)])
    if not quick:
        call_each([*MORE, *(check for module in modules for check in module.MORE)])
    end(0)


main()
