"""Checks of integration/cri: namespaces, identity, what a container may do, its files and devices."""

import json
import os
import re

from cri_lib import *

DEFAULT_CAPABILITIES = 0xA80425FB
CHOWN, NET_ADMIN = 1 << 0, 1 << 12


def namespace(kind):
    return os.readlink(f"/proc/self/ns/{kind}")


def check_shared_pids():
    with Pod(pid=POD) as pod:
        a, b = pod.shell("sleep 100010 & wait"), pod.sleeper()
        equal("shared pids: the pause process is pid 1", "0: sh -c sleep infinity; :",
              b.sh("tr '\\0' ' ' </proc/1/cmdline"))
        matches("shared pids: another's processes", "sleep 100010", b.sh("cat /proc/[0-9]*/cmdline | tr '\\0' ' '"))
        b.exec("sh", "-c", "(sleep 0.1 &)")
        until(lambda: not processes("sleep 0.1"))
        equal("shared pids: orphans are reaped", True, until(lambda: ") Z " not in b.sh("cat /proc/[0-9]*/stat")))
        b.sh("cd /proc; for p in [0-9]*; do tr '\\0' ' ' <$p/cmdline | grep -q '^sleep 100010' && kill -KILL $p; done")
        equal("shared pids: another's process is killed", EXITED, a.wait()["state"])
        c = pod.ready("sleep 100011 & sleep 100011 & echo ready; wait")
        c.stop()
        equal("shared pids: stop ends all its processes", True, until(lambda: not processes("sleep 100011")))
        status = pod.shell("sleep 100012 & exit 3").wait()
        equal("shared pids: nothing outlives its first process", (3, True),
              (status["exit_code"], until(lambda: not processes("sleep 100012"))))
        equal("shared pids: others go on", RUNNING, b.state())


def check_target_pids():
    with Pod() as pod:
        a = pod.sleeper()
        debug = pod.sleeper(namespaces={"pid": TARGET, "target_id": a.id})
        script = "readlink /proc/self/ns/pid"
        equal("target pids: those of the target", a.sh(script), debug.sh(script))
        matches("target pids: the target's files", "nobody", debug.sh("cat /proc/1/root/etc/passwd"))
        script = "readlink /proc/self/ns/mnt"
        equal("target pids: files of its own", False, a.sh(script) == debug.sh(script))
        a.stop()
        equal("target pids: ends with the target", (EXITED, 137), (debug.wait()["state"], debug.status()["exit_code"]))
        refused("target pids: not of a target that has ended", "is not running", pod.create, "true",
                namespaces={"pid": TARGET, "target_id": a.id})


def check_node():
    with Pod(network=NODE, pid=NODE, ipc=NODE) as pod:
        c = pod.ready("sleep 100013 & sleep 100013 & echo ready; wait")
        for kind in ("net", "pid", "ipc", "uts"):
            equal(f"node: {kind}", f"0: {namespace(kind)}", c.sh(f"readlink /proc/self/ns/{kind}"))
        equal("node: files of its own", False, f"0: {namespace('mnt')}" == c.sh("readlink /proc/self/ns/mnt"))
        c.stop()
        equal("node: stop ends all its processes", True, until(lambda: not processes("sleep 100013")))
        status = pod.shell("sleep 100014 & exit 3").wait()
        equal("node: nothing outlives its first process", (3, True),
              (status["exit_code"], until(lambda: not processes("sleep 100014"))))
        c = pod.shell("kill -TERM $$")
        equal("node: killed by TERM is 143", 143, c.wait()["exit_code"])


def check_userns():
    if engine.version < (2, 0):
        skipped(f"user namespaces: containerd {engine.version[0]}.{engine.version[1]} has none for pods (2.0 has)")
        return
    if re.search(r"^runc version 1\.[01]\.", command(runtime, "--version")):
        skipped("user namespaces: runc 1.1 has no idmap mounts")
        return
    mapping = [{"host_id": 100000, "container_id": 0, "length": 65536}]
    os.makedirs(f"{directory}/logs/owned")
    with Pod(userns={"mode": POD, "uids": mapping, "gids": mapping}) as pod:
        c = pod.sleeper(mounts=[{"container_path": "/mnt", "host_path": f"{directory}/logs/owned",
                                 "uidMappings": mapping, "gidMappings": mapping}])
        equal("user namespace: uids", "0: 0 100000 65536", c.sh("echo $(cat /proc/self/uid_map)"))
        equal("user namespace: gids", "0: 0 100000 65536", c.sh("echo $(cat /proc/self/gid_map)"))
        equal("user namespace: root", "0: 0 0", c.sh("echo $(id -u) $(id -g)"))
        equal("user namespace: the image is root's", "0: 0:0", c.sh("stat -c %u:%g /bin/busybox"))
        with open(f"/proc/{c.pid()}/status", encoding="utf-8") as file:
            matches("user namespace: root is nobody outside", r"\nUid:\t100000\t", file.read())
        equal("user namespace: an idmapped mount", "0: 0:0", c.sh("touch /mnt/file; stat -c %u:%g /mnt/file"))
        equal("user namespace: its files are root's outside", 0, os.stat(f"{directory}/logs/owned/file").st_uid)
        other = pod.run("readlink /proc/self/ns/user")
        equal("user namespace: containers share it", c.sh("readlink /proc/self/ns/user"), other)
        admin = {"capabilities": {"add_capabilities": ["NET_ADMIN"]}}
        equal("user namespace: it owns the network", "0:",
              pod.run("echo 1 >/proc/sys/net/ipv4/ip_forward", security=admin).strip())


def check_identity():
    with Pod() as pod:
        who = "echo $(id -u) $(id -g) $(id -G)"
        user = lambda **security: pod.run(who, security=security)
        equal("identity: root", "0: 0 0 0", user())
        equal("identity: a user", "0: 1234 0 0", user(run_as_user=1234))
        equal("identity: a user and a group", "0: 1234 567 567", user(run_as_user=1234, run_as_group=567))
        equal("identity: by name, her groups", "0: 1000 1000 1000 50", user(run_as_username="alice"))
        equal("identity: supplemental groups", "0: 1234 567 567 7 8",
              user(run_as_user=1234, run_as_group=567, supplemental_groups=[7, 8]))
    security = {"run_as_user": 1000, "run_as_group": 1001, "seccomp": {"profile_type": RUNTIME_DEFAULT}}
    with Pod(security=security) as pod:
        with open(f"/proc/{pod.pid()}/status", encoding="utf-8") as file:
            status = file.read()
        matches("identity: the pod's user and group", r"\nUid:\t1000\t.*\nGid:\t1001\t", status)
        matches("identity: the pod's seccomp", r"\nSeccomp:\t2\n", status)


def check_process():
    with Pod(hostname="a-name") as pod:
        equal("process: environment", "0: a b=c a-name", pod.run('echo "$CHECK" $HOSTNAME', env={"CHECK": "a b=c"}))
        many = {f"SERVICE_{i}_PORT": f"tcp://10.0.0.1:{i}" for i in range(2000)}
        equal("process: 2000 variables", "0: 2000", pod.run("env | grep -c SERVICE", env=many))
        equal("process: nothing of the shim's environment", "0: none", pod.run('echo "${TTRPC_ADDRESS-none}"'))
        equal("process: no descriptor of the shim", "0: 0 1 2 3", pod.run("echo $(ls /proc/self/fd)"))  # 3 is ls's own
        c = pod.start("echo", args=["of", "args"])
        c.wait()
        equal("process: command and arguments", "of args", c.output().strip())
        equal("process: pid 1", "0: 1", pod.run("echo $$"))
        matches("process: rlimits as they are", rf"\n{limits_of('self')}", "\n" + pod.run("cat /proc/self/limits")[3:])


def limits_of(pid):
    with open(f"/proc/{pid}/limits", encoding="utf-8") as file:
        return re.search(r"Max open files .*?files", file.read()).group(0)


def field(name):
    """A command that prints this field of the /proc/PID/status that follow."""
    return f"sed -n 's/^{name}:\t//p'"


def status_of(pod, name, **options):
    """A field of a container's /proc/self/status."""
    return pod.run(f"{field(name)} /proc/self/status", **options).removeprefix("0: ")


def check_capabilities():
    ours = int(re.search(r"CapEff:\t(\w+)", open("/proc/self/status", encoding="utf-8").read()).group(1), 16)
    with Pod() as pod:
        def effective(add=(), drop=(), which="CapEff", **security):
            security["capabilities"] = {"add_capabilities": add, "drop_capabilities": drop}
            return hex(int(status_of(pod, which, security=security), 16))

        equal("capabilities: default", hex(DEFAULT_CAPABILITIES), effective())
        equal("capabilities: one more", hex(DEFAULT_CAPABILITIES | NET_ADMIN), effective(add=["NET_ADMIN"]))
        equal("capabilities: one less", hex(DEFAULT_CAPABILITIES & ~CHOWN), effective(drop=["CHOWN"]))
        equal("capabilities: none", "0x0", effective(drop=["ALL"]))
        equal("capabilities: one alone", hex(NET_ADMIN), effective(add=["NET_ADMIN"], drop=["ALL"]))
        equal("capabilities: all", hex(ours), effective(add=["ALL"]))
        equal("capabilities: none of another user", "0x0", effective(run_as_user=1234))
        equal("capabilities: another user's bounding set", hex(DEFAULT_CAPABILITIES),
              effective(run_as_user=1234, which="CapBnd"))
        equal("capabilities: none ambient", "0x0", effective(add=["NET_ADMIN"], run_as_user=1234, which="CapAmb"))
        c = pod.sleeper(security={"capabilities": {"add_capabilities": ["NET_ADMIN"], "drop_capabilities": ["ALL"]}})
        equal("capabilities: of exec", f"0: {NET_ADMIN:016x}", c.sh(f"{field('CapEff')} /proc/self/status"))
        equal("no new privileges: by default not", "0", status_of(pod, "NoNewPrivs"))
        c = pod.sleeper(security={"no_new_privs": True})
        equal("no new privileges, of exec too", "0: 1 1",
              c.sh(f"echo $({field('NoNewPrivs')} /proc/1/status /proc/self/status)"))


def check_privileged():
    ours = re.search(r"CapEff:\t(\w+)", open("/proc/self/status", encoding="utf-8").read()).group(1)
    with Pod(privileged=True) as pod:
        c = pod.sleeper()
        equal("privileged: capabilities", f"0: {ours} {ours}",
              c.sh(f"echo $({field('CapEff')} /proc/1/status /proc/self/status)"))
        equal("privileged: no seccomp", "0: 0", c.sh(f"{field('Seccomp')} /proc/1/status"))
        here = {name for name in os.listdir("/dev") if is_device(f"/dev/{name}") and name not in ("console", "ptmx")}
        equal("privileged: the machine's devices", set(), here - set(c.sh("ls /dev")[3:].split()))
        device = some_device()
        number = os.stat(device).st_rdev
        equal("privileged: any device can be opened", "0:",
              c.sh(f"mknod /tmp/device c {os.major(number)} {os.minor(number)} && : </tmp/device").strip())
        equal("privileged: mount", "0: 1", c.sh("mount -t tmpfs none /mnt && grep -c ' /mnt tmpfs' /proc/mounts"))
    with Pod(privileged=True, network=NODE) as pod:
        matches("privileged: /sys can be written", "^0: .* rw", pod.run("grep ' /sys sysfs' /proc/mounts"))
    with Pod() as pod:
        refused("privileged: not in an unprivileged pod", "no privileged container allowed", pod.create, "true",
                security={"privileged": True})


def is_device(path):
    try:
        return os.stat(path, follow_symlinks=False).st_rdev != 0
    except FileNotFoundError:
        return False


def some_device():
    """A character device that no container may open by default, and whose opening does nothing."""
    return next(path for path in ("/dev/fuse", "/dev/loop-control", "/dev/kmsg") if os.path.exists(path))


def check_devices():
    device = some_device()
    number = os.stat(device).st_rdev
    with Pod() as pod:
        matches("devices: another cannot be opened", "Operation not permitted",
                pod.run(f"mknod /tmp/device c {os.major(number)} {os.minor(number)} && : </tmp/device"))
        c = pod.sleeper(devices=[{"host_path": device, "container_path": "/dev/mine", "permissions": "r"}])
        equal("devices: one that is given", "0:", c.sh(": </dev/mine").strip())
        matches("devices: not for writing", "Operation not permitted", c.sh(": >/dev/mine"))
        equal("devices: the usual ones", "0: 1:3 1:5 1:7 1:8 1:9 5:0",
              c.sh("cd /dev; for d in null zero full random urandom tty; do stat -c %t:%T $d; done | xargs echo"))


def check_paths():
    with Pod() as pod:
        c = pod.sleeper(security={"readonly_rootfs": True})
        matches("read-only root: no file is made", "Read-only file system", c.sh("touch /file"))
        equal("read-only root: /dev/shm can be written", "0: x", c.sh("echo x >/dev/shm/x; cat /dev/shm/x"))
        equal("read-only root: /dev/null can be written", "0:", c.sh("echo x >/dev/null").strip())
        c = pod.sleeper(security={"masked_paths": ["/etc/group", "/home", "/no/such"],
                                  "readonly_paths": ["/tmp", "/proc/sys", "/no/such"]})
        equal("masked: a file", "0:", c.sh("cat /etc/group").strip())
        equal("masked: a directory", "0:", c.sh("ls /home").strip())
        matches("masked: a directory cannot be written", "Read-only file system", c.sh("touch /home/file"))
        matches("read-only paths: a directory", "Read-only file system", c.sh("touch /tmp/file"))
        matches("read-only paths: /proc/sys", "Read-only file system", c.sh("echo 1 >/proc/sys/net/ipv4/ip_forward"))
        equal("read-only paths: the rest is not", "0:", c.sh("touch /mnt/file").strip())


def check_seccomp():
    profile = f"{directory}/seccomp.json"
    with open(profile, "w", encoding="utf-8") as file:
        json.dump({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"},
            {"names": ["sync"], "action": "SCMP_ACT_KILL_PROCESS"},
        ]}, file)
    with Pod() as pod:
        seccomp = lambda kind, **more: status_of(pod, "Seccomp", security={"seccomp": {"profile_type": kind, **more}})
        equal("seccomp: RuntimeDefault", "2", seccomp(RUNTIME_DEFAULT))
        equal("seccomp: Unconfined", "0", seccomp(UNCONFINED))
        c = pod.sleeper(security={"seccomp": {"profile_type": LOCALHOST, "localhost_ref": profile}})
        matches("seccomp: Localhost: what it refuses", "Operation not permitted", c.sh("mkdir /tmp/directory"))
        equal("seccomp: Localhost: what it kills for", 128 + 31, c.exec("sync")[0])
        equal("seccomp: Localhost: the rest", "0: x", c.sh("echo x >/tmp/file; cat /tmp/file"))
        refused("seccomp: Localhost: a missing profile", "no such file", pod.create, "true",
                security={"seccomp": {"profile_type": LOCALHOST, "localhost_ref": "/no/such.json"}})


def check_sysctls():
    with Pod(sysctls={"kernel.shm_rmid_forced": "1", "net.ipv4.ip_unprivileged_port_start": "5"}) as pod:
        equal("sysctls: ipc and net", "0: 1 5",
              pod.run("echo $(cat /proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ip_unprivileged_port_start)"))
    refused("sysctls: none of the machine", "vm.swappiness", Pod, sysctls={"vm.swappiness": "1"})


def check_mounts():
    source, shared = f"{directory}/logs/source", f"{directory}/shared"
    os.makedirs(f"{source}/sub")
    os.makedirs(f"{shared}/sub")
    for path, text in (("file", "content\n"), ("message", "")):
        with open(f"{source}/{path}", "w", encoding="utf-8") as file:
            file.write(text)
    bind = lambda target, path, **more: {"container_path": target, "host_path": path, **more}
    with Pod(privileged=True) as pod:
        c = pod.sleeper(mounts=[bind("/new/rw", source), bind("/new/ro", source, readonly=True),
                                bind("/new/rw/sub", shared), bind("/dev/termination-log", f"{source}/message")])
        equal("mount: read-write", "0: content", c.sh("cat /new/rw/file; echo written >/new/rw/new"))
        with open(f"{source}/new", encoding="utf-8") as file:
            equal("mount: what was written is in the source", "written\n", file.read())
        matches("mount: read-only", "content.*Read-only file system", c.sh("cat /new/ro/file; touch /new/ro/file"))
        equal("mount: one below another", "0: sub", c.sh("ls /new/rw/sub"))
        c.sh("echo why >/dev/termination-log")
        with open(f"{source}/message", encoding="utf-8") as file:
            equal("mount: a file, the termination message", "why\n", file.read())

        private, receives, both = (pod.sleeper(mounts=[bind("/mnt", shared, propagation=kind)]) for kind in range(3))
        command("mount", "-t", "tmpfs", "from-outside", f"{shared}/sub")
        outside = "grep -c '^from-outside /mnt/sub' /proc/mounts"
        equal("propagation: private gets no mount", "1: 0", private.sh(outside))
        equal("propagation: host to container gets it", "0: 1", receives.sh(outside))
        equal("propagation: bidirectional gets it", "0: 1", both.sh(outside))
        command("umount", f"{shared}/sub")
        equal("propagation: and its end", "1: 0", receives.sh(outside))
        inside = lambda container, name: container.sh(f"mkdir -p /mnt/{name} && mount -t tmpfs {name} /mnt/{name}")
        for container, name in ((private, "private"), (receives, "receives"), (both, "both")):
            inside(container, name)
        with open("/proc/self/mountinfo", encoding="utf-8") as file:
            seen = sorted(set(re.findall(rf" {shared}/(\w+) ", file.read())))
        equal("propagation: only bidirectional gives its mounts", ["both"], seen)
        both.sh("umount /mnt/both")


QUICK = [check_shared_pids, check_capabilities, check_paths, check_mounts]
MORE = [check_target_pids, check_node, check_userns, check_identity, check_process, check_privileged, check_devices,
        check_seccomp, check_sysctls]
