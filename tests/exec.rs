//! `exec`: a further process of a running container.

mod common;

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use common::exec::{end, exec, exec_with, running, says, start};
use common::{Bundle, patience, wait_until};
use serde_json::{Value, json};

#[test]
fn streams_and_status_are_the_programs() {
    need_root!();
    let bundle = running();
    let mut command = bundle.command(&["exec", &bundle.id, "sh", "-c", "cat; echo no >&2; exit 7"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"in").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &*output.stdout, &*output.stderr), (Some(7), &b"in"[..], &b"no\n"[..]));
    assert_eq!(exec(&bundle, &["sh", "-c", "kill -9 $$"]).status, 137);
    assert_eq!(bundle.status(), "running");
    end(&bundle);
}

#[test]
fn it_is_in_all_of_the_containers_namespaces_and_cgroups() {
    need_root!();
    let bundle = running();
    let pid = bundle.state()["pid"].as_i64().unwrap();
    let of = |pid: &str| {
        let mut names: Vec<_> = fs::read_dir(format!("/proc/{pid}/ns")).unwrap().flatten().collect();
        names.sort_by_key(|name| name.file_name());
        names.iter().map(|name| fs::read_link(name.path()).unwrap().display().to_string()).collect::<Vec<_>>()
    };
    let file = bundle.dir.join("pid");
    let done = exec_with(&bundle, &["--detach", "--pid-file", file.to_str().unwrap()], &["sleep", "1000"]);
    assert_eq!(done.status, 0, "{done:?}");
    let further = fs::read_to_string(file).unwrap();
    assert_eq!(of(&further), of(&pid.to_string()));
    let cgroups = |pid: &str| fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert_eq!(cgroups(&further), cgroups(&pid.to_string()));
    assert_eq!(fs::read_to_string(format!("/proc/{further}/environ")).unwrap().matches('\0').count(), 3);
    let listed: Vec<i64> =
        serde_json::from_str(&bundle.ferrun(&["ps", "--format", "json", &bundle.id]).stdout).unwrap();
    assert_eq!(listed, [pid, further.parse().unwrap()]);
    end(&bundle);
}

#[test]
fn flags_describe_the_process() {
    need_root!();
    let bundle = running();
    let status = |flags: &[&str], name: &str| {
        let line = says(&bundle, flags, "cat /proc/self/status");
        let line = line.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).unwrap().to_owned();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(status(&["--user", "1000:1001", "-g", "5", "-g", "6"], "Uid"), "1000 1000 1000 1000");
    assert_eq!(status(&["--user", "1000:1001", "-g", "5", "-g", "6"], "Gid"), "1001 1001 1001 1001");
    assert_eq!(status(&["--user", "1000:1001", "-g", "5", "-g", "6"], "Groups"), "5 6");
    assert_eq!(status(&["--user", "1000"], "Gid"), "0 0 0 0");
    assert_eq!(says(&bundle, &["--cwd", "/bin"], "pwd"), "/bin\n");
    assert_eq!(says(&bundle, &["-e", "A=1", "--env", "A=2"], "echo $A"), "2\n");
    let with = u64::from_str_radix(&status(&["--cap", "CAP_SYS_ADMIN"], "CapEff"), 16).unwrap();
    let without = u64::from_str_radix(&status(&[], "CapEff"), 16).unwrap();
    assert_eq!(with & !without, 1 << 21);
    assert_eq!(status(&["--cap", "CAP_SYS_ADMIN"], "CapInh"), "0000000000000000");
    assert_eq!(status(&["--no-new-privs"], "NoNewPrivs"), "1");
    // What follows the id is the program's.
    let done = exec(&bundle, &["echo", "--user", "7"]);
    assert_eq!((done.status, done.stdout.as_str()), (0, "--user 7\n"));
    end(&bundle);
}

#[test]
fn what_cannot_be_is_refused_and_leaves_nothing() {
    need_root!();
    let bundle = running();
    for user in ["-1", "4294967295", "4294967296", "0:", ":0", "1x", "nobody", "0:nobody"] {
        let done = exec_with(&bundle, &["--user", user], &["id"]);
        assert_eq!(done.status, 255, "{user}: {done:?}");
    }
    for (flags, words, says) in [
        (&[][..], &["nosuch"][..], "executable file not found in $PATH"),
        (&[], &["/nosuch"], "no such file or directory"),
        (&[], &["/bin"], "is a directory"),
        (&[], &[], "args must not be empty"),
        (&["--cwd", "/proc/self/fd/3"], &["true"], "cwd"),
        (&["--cwd", "bin"], &["true"], "cwd"),
        (&["--cwd", "/bin/no/such"], &["true"], "chdir to cwd \"/bin/no/such\": no such file or directory"),
        (&["--cap", "CAP_NOSUCH"], &["true"], "unknown capability"),
        (&["--process", "/nosuch"], &[], "no such file or directory"),
        (&["--preserve-fds", "7"], &["true"], "is not open"),
    ] {
        let done = exec_with(&bundle, flags, words);
        assert_eq!(done.status, 255, "{words:?}: {done:?}");
        assert!(done.stderr.contains(says), "{words:?}: {done:?}");
    }
    assert_eq!(exec(&bundle, &["true"]).status, 0);
    end(&bundle);
    let done = exec(&bundle, &["true"]);
    assert!(done.status == 255 && done.stderr.contains("container does not exist"), "{done:?}");
}

#[test]
fn a_file_describes_it_and_what_it_does_not_say_is_as_the_containers() {
    need_root!();
    let bundle = start(Bundle::new(&["sleep", "1000"]).with(|config| {
        config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 77, "hard": 77 }]);
        config["process"]["oomScoreAdj"] = json!(123);
    }));
    let run = |process: Value| {
        let file = bundle.dir.join("process.json");
        fs::write(&file, process.to_string()).unwrap();
        exec_with(&bundle, &["--process", file.to_str().unwrap()], &[])
    };
    let script = "ulimit -n; cat /proc/self/oom_score_adj; grep CapBnd /proc/self/status; grep NoNew /proc/self/status";
    let args = json!(["sh", "-c", script]);
    let silent = run(json!({ "args": args, "cwd": "/", "env": ["PATH=/bin"] }));
    assert_eq!(silent.status, 0, "{silent:?}");
    assert!(silent.stdout.starts_with("77\n123\nCapBnd:\t00000000"), "{silent:?}");
    assert!(!silent.stdout.contains("CapBnd:\t0000000000000000") && silent.stdout.ends_with("NoNewPrivs:\t0\n"));
    let all = run(json!({
        "args": args, "cwd": "/", "env": ["PATH=/bin"], "noNewPrivileges": true, "rlimits": [], "capabilities": {},
        "oomScoreAdj": 200, "user": { "uid": 3, "gid": 4 }
    }));
    assert!(!all.stdout.starts_with("77\n"), "{all:?}");
    assert!(all.stdout.ends_with("200\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1\n"), "{all:?}");
    for (process, pointer) in [
        (json!({ "args": [], "cwd": "/" }), "/args"),
        (json!({ "args": ["true"], "cwd": "x" }), "/cwd"),
        (json!({ "args": ["true"], "cwd": "/", "user": { "uid": -1 } }), "/user/uid"),
    ] {
        let done = run(process);
        assert!(done.status == 255 && done.stderr.contains(pointer), "{done:?}");
    }
    end(&bundle);
}

#[test]
fn the_config_is_that_of_create() {
    need_root!();
    let bundle = running();
    let config = bundle.dir.join("config.json");
    fs::write(&config, "no JSON").unwrap();
    assert_eq!(exec(&bundle, &["true"]).status, 0);
    fs::remove_file(&config).unwrap();
    assert_eq!(exec(&bundle, &["true"]).status, 0);
    end(&bundle);
}

#[test]
fn only_a_container_that_lives_takes_it() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "1000"]);
    assert_eq!(bundle.create().status, 0);
    assert_eq!(exec(&bundle, &["true"]).status, 0, "a created container");
    assert_eq!(bundle.start().status, 0);
    assert_eq!(bundle.on("pause", &[]).status, 0);
    let done = exec(&bundle, &["true"]);
    let words = "cannot exec in a paused container (use --ignore-paused to override)";
    assert!(done.status == 255 && done.stderr.contains(words), "{done:?}");
    let mut waits = bundle.command(&["exec", "--ignore-paused", &bundle.id, "echo", "woken"]);
    let waits = waits.stdout(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(bundle.on("resume", &[]).status, 0);
    assert_eq!(waits.wait_with_output().unwrap().stdout, b"woken\n");
    assert_eq!(bundle.on("kill", &["KILL"]).status, 0);
    bundle.wait_for("stopped");
    let done = exec(&bundle, &["true"]);
    assert!(done.status == 255 && done.stderr.contains("container not running"), "{done:?}");
    end(&bundle);
}

#[test]
fn who_is_in_the_container_sees_nothing_of_ferrun() {
    need_root!();
    // Looks at whatever appears, as often as it can.
    let spy = "cd /proc; while :; do for p in [0-9]*; do case $p in 1|$$) continue;; esac
        ls -l $p/fd 2>/dev/null; readlink $p/exe; tr '\\0' ' ' <$p/cmdline; done >>/seen 2>/dev/null; done";
    let bundle = start(Bundle::sh(spy).set("/root/readonly", json!(false)).with(|config| {
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = json!(["CAP_SYS_PTRACE", "CAP_KILL", "CAP_DAC_OVERRIDE"]);
        }
    }));
    let seen = || fs::read_to_string(bundle.rootfs().join("seen")).unwrap_or_default();
    // On a machine with other work the spy seldom has its turn.
    let mut tries = 0..1000;
    while tries.next().is_some_and(|number| number < 30 || !seen().contains("busybox")) {
        assert_eq!(exec(&bundle, &["true"]).status, 0);
    }
    let seen = seen();
    assert!(seen.contains("busybox"), "the spy sees nothing at all");
    for word in ["ferrun", "socket:", bundle.dir.to_str().unwrap(), "/sys/fs/cgroup", "state.json"] {
        assert!(!seen.contains(word), "{word}: {}", seen.lines().find(|line| line.contains(word)).unwrap());
    }
    end(&bundle);
}

#[test]
fn it_is_under_the_containers_filter() {
    need_root!();
    for denied in [
        &["mkdirat", "mkdir"][..],
        &["mkdirat", "mkdir", "clone"],
        &["mkdirat", "mkdir", "setsid", "capset"],
        &["mkdirat", "mkdir", "capset"],
    ] {
        let bundle = start(Bundle::new(&["sleep", "1000"]).with(|config| {
            let rules = json!([{ "names": denied, "action": "SCMP_ACT_ERRNO" }]);
            config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules });
            config["process"]["noNewPrivileges"] = json!(false);
        }));
        let done = exec(&bundle, &["mkdir", "/tmp"]);
        assert!(done.status == 1 && done.stderr.contains("Operation not permitted"), "{denied:?}: {done:?}");
        let done = exec(&bundle, &["cat", "/proc/self/status"]);
        assert!(done.stdout.contains("Seccomp:\t2\n"), "{done:?}");
        end(&bundle);
    }
}

#[test]
fn many_at_once_and_beside_a_delete() {
    need_root!();
    let bundle = running();
    let begin = || bundle.command(&["exec", &bundle.id, "true"]).stderr(Stdio::piped()).spawn().unwrap();
    let all: Vec<_> = (0..50).map(|_| begin()).collect();
    for one in all {
        let output = one.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let all: Vec<_> = (0..20).map(|_| begin()).collect();
    let deleted = bundle.delete_force();
    assert_eq!(deleted.status, 0, "{deleted:?}");
    for mut one in all {
        wait_until("the end of an exec", || one.try_wait().unwrap().is_some());
    }
    bundle.assert_nothing_left("a delete beside exec");
    assert!(patience(1) > Duration::ZERO);
}

/// Some kernels (Linux 6.18) kill what is created from a cgroup in which all was killed once into another one.
#[test]
fn it_runs_from_a_cgroup_in_which_all_was_killed_once() {
    need_root!();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let Some(v2) = mounts.lines().find(|line| line.contains(" - cgroup2 ")).and_then(|line| line.split(' ').nth(4))
    else {
        return common::skip("this host has no cgroup v2");
    };
    let bundle = running();
    let own = std::path::Path::new(v2).join(format!("ferrun-{}-caller", bundle.id));
    fs::create_dir(&own).unwrap();
    fs::write(own.join("cgroup.kill"), "1").unwrap();
    let mut command = std::process::Command::new("sh");
    let script = "echo $$ >$1/cgroup.procs; shift; exec \"$@\"";
    command.args(["-c", script, "sh"]).arg(&own).arg(common::ferrun_binary()).arg("--root").arg(bundle.state_root());
    let done = common::bounded(command.args(["exec", &bundle.id, "cat", "/proc/self/cgroup"]));
    fs::remove_dir(own).unwrap();
    assert_eq!(done.status, 0, "{done:?}");
    assert!(done.stdout.lines().all(|line| line.ends_with(":/")), "{done:?}");
    end(&bundle);
}

#[test]
fn users_and_groups_may_be_names_that_the_container_knows() {
    need_root!();
    let bundle = running();
    let etc = bundle.rootfs().join("etc");
    fs::create_dir_all(&etc).unwrap();
    let long = "x".repeat(100_000);
    let passwd = format!("bad\n{long}\nme:x:-7:8:::\nme:x:77:88:::\nhuge:x:4294967295:1::/:\nlast:x:4294967296:1::/:");
    fs::write(etc.join("passwd"), [passwd.as_bytes(), b"\n\xff\xfe:x:1:1\n"].concat()).unwrap();
    fs::write(etc.join("group"), "a:x:5:you,me\nb:x:6:you\nc:x:88:me\nd:x:9:me").unwrap();
    let id = |user: &str| {
        let status = says(&bundle, &["--user", user], "cat /proc/self/status");
        let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        [line("Uid:"), line("Gid:"), line("Groups:")].map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    assert_eq!(id("me"), ["77 77 77 77", "88 88 88 88", "5 9"]);
    assert_eq!(id("me:b"), ["77 77 77 77", "6 6 6 6", "5 9"]);
    assert_eq!(id("3:b"), ["3 3 3 3", "6 6 6 6", ""]);
    for user in ["huge", "last", "bad", "you", "me:nosuch"] {
        let done = exec_with(&bundle, &["--user", user], &["true"]);
        assert!(done.status == 255 && done.stderr.contains("unable to find"), "{user}: {done:?}");
    }
    // Files of the kernel, fifos and links out of the container are not read.
    for target in ["/proc/kmsg", "/fifo", "/../../../../etc/passwd", "/etc/passwd"] {
        fs::remove_file(etc.join("passwd")).unwrap();
        std::os::unix::fs::symlink(target, etc.join("passwd")).unwrap();
        nix::unistd::mkfifo(&bundle.rootfs().join("fifo"), nix::sys::stat::Mode::S_IRUSR).ok();
        let done = exec_with(&bundle, &["--user", "daemon"], &["true"]);
        assert_eq!(done.status, 255, "{target}: {done:?}");
    }
    end(&bundle);
}

#[test]
fn it_can_be_in_cgroups_below_the_containers() {
    need_root!();
    let bundle = running();
    let cgroups = bundle.cgroups();
    for directory in &cgroups {
        fs::create_dir(directory.join("below")).unwrap();
        for file in ["cpuset.cpus", "cpuset.mems"].iter().filter(|file| directory.join(file).exists()) {
            let _ = fs::copy(directory.join(file), directory.join("below").join(file));
        }
    }
    let done = exec_with(&bundle, &["--cgroup", "/below"], &["cat", "/proc/self/cgroup"]);
    assert!(done.status == 0 && done.stdout.lines().filter(|line| line.ends_with("/below")).count() >= 1, "{done:?}");
    for wrong in ["nosuch", "nosuch:below", "../../.."] {
        let done = exec_with(&bundle, &["--cgroup", wrong], &["true"]);
        assert_eq!(done.status, 255, "{wrong}: {done:?}");
    }
    end(&bundle);
}

#[test]
fn who_asks_for_it_gets_the_descriptor() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "1000"]);
    let path = bundle.dir.join("pidfd.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let pid_of_received = || {
        let (socket, _) = listener.accept().unwrap();
        let pidfd = ferrun::sys::fd::receive(&socket).unwrap().expect("a descriptor");
        let number = std::os::fd::AsRawFd::as_raw_fd(&pidfd);
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap();
        info.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap().trim().to_owned()
    };
    let socket = path.to_str().unwrap();
    assert_eq!(bundle.create_with(&["--pidfd-socket", socket]).status, 0);
    assert_eq!(pid_of_received(), bundle.state()["pid"].to_string());
    let file = bundle.dir.join("pid");
    let flags = ["--detach", "--pidfd-socket", socket, "--pid-file", file.to_str().unwrap()];
    assert_eq!(exec_with(&bundle, &flags, &["sleep", "1000"]).status, 0);
    assert_eq!(pid_of_received(), fs::read_to_string(file).unwrap());
    end(&bundle);
}

#[test]
fn the_callers_keys_are_not_its_own() {
    need_root!();
    let bundle = start(Bundle::new(&["sleep", "1000"]).set("/linux/maskedPaths", json!([])));
    let name = format!("key-{}", bundle.id);
    let (own, key) = (std::ffi::CString::new(name.clone()).unwrap(), c"user");
    // Of this thread, and of what it starts.
    ferrun::sys::keyring::new_session().unwrap();
    let session = libc::KEY_SPEC_SESSION_KEYRING;
    // SAFETY: the strings end with a NUL and outlive the call.
    let added = unsafe { libc::syscall(libc::SYS_add_key, key.as_ptr(), own.as_ptr(), c"secret".as_ptr(), 6, session) };
    assert!(added > 0);
    assert!(fs::read_to_string("/proc/keys").unwrap().contains(&name));
    // Of another user it is seen by those alone who possess it.
    let keys = says(&bundle, &["--user", "1000:1000"], "cat /proc/keys");
    assert!(!keys.contains(&name), "{keys}");
    end(&bundle);
}
