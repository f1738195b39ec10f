"""Checks of integration/cri: exec, streams, logs."""

import hashlib
import os
import statistics
import time

import cri_client
from cri_lib import *


def check_exec():
    with Pod() as pod:
        security = {"run_as_user": 1234, "run_as_group": 567, "supplemental_groups": [7, 8]}
        c = pod.sleeper(env={"OF": "a container"}, working_dir="/mnt", security=security)
        equal("exec: stdout and stderr", (0, "out\n", "err\n"), c.exec("sh", "-c", "echo out; echo err >&2"))
        equal("exec: status", (42, "", ""), c.exec("sh", "-c", "exit 42"))
        equal("exec: killed by a signal", (143, "", ""), c.exec("sh", "-c", "kill -TERM $$"))
        equal("exec: environment", "0: a container", c.sh("echo $OF"))
        equal("exec: working directory", "0: /mnt", c.sh("pwd"))
        equal("exec: user and groups", "0: 1234 567 567 7 8", c.sh("echo $(id -u) $(id -g) $(id -G)"))
        equal("exec: in the pid namespace", "0: sh", c.sh("cat /proc/1/comm"))
        equal("exec: no input", (0, "", ""), c.exec("cat"))
        equal("exec: no descriptor of the shim", "0: 0 1 2 3", c.sh("echo $(ls /proc/self/fd)"))  # 3 is ls's own
        refused("exec: timeout", "DEADLINE_EXCEEDED|timeout 1s exceeded", c.exec, "sleep", "100002", timeout=1)
        equal("exec: killed at its timeout", True, until(lambda: not processes("sleep 100002")))
        refused("exec: missing from PATH", r"executable file not found in \$PATH", c.exec, "no-such-program")
        refused("exec: missing path", "no such file or directory", c.exec, "/no/such/program")
        refused("exec: not executable", "permission denied", c.exec, "/etc/not-executable")
        big = c.exec("sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x; head -c 300000 /dev/zero | tr '\\0' y >&2")
        equal("exec: big output", (0, 1000000, 300000), (big[0], big[1].count("x"), big[2].count("y")))
        equal("exec: a long argument", (0, "100000\n", ""), c.exec("sh", "-c", "echo ${#1}", "sh", "x" * 100000))
        equal("exec: 20 at once", [(i, f"{i}\n", "") for i in range(20)],
              at_once(lambda i: c.exec("sh", "-c", f"echo {i}; exit {i}", timeout=60), range(20)))
        c.stop()
        refused("exec: refused after the exit", "CONTAINER_EXITED", c.exec, "true")


def check_exec_stream():
    with Pod() as pod:
        c = pod.sleeper()
        stream = c.stream("sh", "-c", "read line; echo got $line; echo err >&2")
        stream.send(b"typed\n")
        equal("stream: Success", "Success", stream.finish())
        equal("stream: stdin, stdout, stderr", (b"got typed\n", b"err\n"),
              (stream.got(), stream.got(cri_client.STDERR)))
        equal("stream: exit status", "Failure 7", c.stream("sh", "-c", "exit 7").finish())
        equal("stream: killed by a signal", "Failure 143", c.stream("sh", "-c", "kill -TERM $$").finish())
        matches("stream: missing command", r"executable file not found in \$PATH", c.stream("no-such-program").finish())
        data = os.urandom(1 << 20)
        stream = c.stream("sh", "-c", f"head -c {len(data)} | sha256sum")
        for at in range(0, len(data), 1 << 14):
            stream.send(data[at : at + (1 << 14)])
        stream.finish()
        equal("stream: much input", hashlib.sha256(data).hexdigest(), stream.got().decode().split(" ")[0])

        stream = c.stream("sh", tty=True)
        stream.resize(111, 37)
        stream.send(b"until [ \"$(stty size)\" = '37 111' ]; do sleep 0.05; done; echo RES'IZED'; tty; echo err >&2\n")
        matches("stream: a terminal is resized", "RESIZED", stream.wait_for(b"RESIZED").decode())
        stream.send(b"sleep 100003\n")
        until(lambda: processes("sleep 100003"))
        stream.send(b"\x03")  # the terminal makes it a SIGINT for the foreground
        stream.send(b"echo st'at'us $?\n")
        matches("stream: ^C", "status 130", stream.wait_for(b"status 130").decode())
        stream.send(b"exit 5\n")
        equal("stream: exit status of a terminal", "Failure 5", stream.finish())
        matches("stream: a terminal, with stderr", r"/dev/pts/\d+\s.*err\s", stream.got().decode())
        stream = c.stream("sleep", "100004")
        until(lambda: processes("sleep 100004"))
        c.stop()
        equal("stream: ends with the container", "Failure 137", stream.finish())


def check_attach():
    with Pod() as pod:
        loop = "while read line; do echo got $line; echo err $line >&2; done; echo end of input"
        c = pod.shell(loop, stdin=True)
        stream = c.attach()
        stream.send(b"one\n")
        stream.wait_for(b"got one\n")
        equal("attach: stdin, stdout", b"got one\n", stream.got())
        equal("attach: stderr", b"err one\n", stream.wait_for(b"err one\n", cri_client.STDERR))
        stream.close()
        stream = c.attach()
        stream.send(b"two\n")
        equal("attach: again", b"got two\n", stream.wait_for(b"got two\n"))
        stream.close()
        c.wait_for("err two")
        equal("attach: the log has it all", ["err one", "err two", "got one", "got two"],
              sorted(c.output().split("\n")[:-1]))
        c = pod.shell(loop, stdin=True, stdin_once=True)
        stream = c.attach()
        stream.send(b"once\n")
        stream.wait_for(b"got once\n")
        stream.close()
        # In the log, lines of the two streams come in any order.
        equal("attach: stdin_once: the input ends with it", (0, True),
              (c.wait()["exit_code"], "end of input" in c.wait_for("end of input").split("\n")))
        c = pod.shell("stty -echo; tty; read line; until [ \"$(stty size)\" = '37 111' ]; do sleep 0.05; done; "
                      "echo $line; read line", stdin=True, tty=True)
        matches("attach: /dev/pts/0", "/dev/pts/0", c.wait_for("/dev/pts/0"))
        stream = c.attach(tty=True)
        stream.resize(111, 37)
        stream.send(b"RESIZED\n")
        matches("attach: a terminal is resized", "RESIZED", stream.wait_for(b"RESIZED").decode())
        stream.close()


def check_port_forward():
    with Pod() as pod:
        c = pod.ready("nc -ll -p 8080 -e cat & echo ready; wait")
        until(lambda: ":1F90 " in c.sh("cat /proc/net/tcp /proc/net/tcp6"))
        forward = lambda port: cri_client.Stream(cri("PortForward", pod_sandbox_id=pod.id, port=[port])["url"])
        answer, error = cri_client.forwarded(forward(8080), b"there and back", b"back")
        equal("port-forward: there and back", (b"there and back", ""), (answer, error))
        answer, error = cri_client.forwarded(forward(8081), b"nobody", b"nobody")
        matches("port-forward: nobody listens", "connection refused", error)


def check_logs():
    with Pod() as pod:
        c = pod.shell("echo out; echo err >&2; printf %20000s x; echo; printf 'no newline'")
        c.wait()
        c.wait_for("no newline")
        lines = sorted(c.lines())
        equal("log: streams", [("stderr", "F", "err"), ("stdout", "F", "out")],
              [line for line in lines if line[2] in ("err", "out")])
        long = [line for line in lines if line[2].startswith(" ") or line[2].endswith("x")]
        equal("log: a long line in parts", (["F", "P"], 20000),
              (sorted(tag for _, tag, _ in long), sum(len(line[2]) for line in long)))
        equal("log: an unfinished line", True, any(line[2] == "no newline" for line in lines))
        with open(c.log, encoding="utf-8") as file:
            matches("log: a time", r"(^|\n)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|[+-]\d\d:\d\d) stdout F ", file.read())

        c = pod.shell("echo 1; while ! [ -e /rotate ]; do sleep 0.05; done; echo 2; sleep 100000 & wait")
        c.wait_for("1")
        os.rename(c.log, c.log + ".1")
        cri("ReopenContainerLog", container_id=c.id)
        c.exec("touch", "/rotate")
        c.wait_for("2")
        equal("log: rotated", ([("stdout", "F", "1")], [("stdout", "F", "2")]), (c.lines(c.log + ".1"), c.lines()))
        c = pod.shell("echo of a terminal; test -t 1 && echo yes", tty=True)
        c.wait()
        equal("log: of a terminal", ["of", "a", "terminal", "yes"], c.wait_for("yes").split())


def check_storm(count=200):
    with Pod() as pod:
        c = pod.sleeper()
        durations, wrong = [], []
        for index in range(count):
            begun = time.monotonic()
            got = c.exec("echo", str(index))
            durations.append(1000 * (time.monotonic() - begun))
            if got != (0, f"{index}\n", ""):
                wrong.append(got)
        equal(f"storm: {count} probes in a row", [], wrong)
        median, ninth = statistics.median(durations), statistics.quantiles(durations, n=10)[-1]
        print(f"# {subject}: a probe takes {median:.0f} ms, one in ten over {ninth:.0f} ms", flush=True)
        equal("storm: no process is left", 2, len(cgroup(c, "cgroup.procs").split()))


QUICK = [check_exec, check_exec_stream]
MORE = [check_attach, check_port_forward, check_logs, check_storm]
