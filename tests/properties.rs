//! Every property of config.json in a row: what is changed in a config that runs, and what a program inside
//! then sees, or why the config is refused. The tables follow the specification's own order. Properties
//! that need more than a row have tests of their own beside this one (resources, seccomp, the matrix of
//! mount options, user namespaces).

mod common;

use std::path::Path;

use serde_json::{Value, json};

use common::{Bundle, Report, sentences, skip};

/// What comes of a row.
enum Then {
    /// A shell script inside prints this.
    Prints(&'static str, String),
    /// The same, and ferrun warns for this reason: `/process/capabilities/bounding/0`.
    Warns(&'static str, &'static str, &'static str),
    /// The config is refused for this reason: `ENOENT /process/args`.
    Refused(&'static str),
}

use Then::Refused;

fn prints(script: &'static str, output: impl Into<String>) -> Then {
    Then::Prints(script, output.into())
}

/// A row: its name, the values that are set at JSON pointers (null: as if absent), what comes of it.
type Row = (&'static str, Vec<(&'static str, Value)>, Then);

/// What stands in the place of the bundle's directory in a value.
const BUNDLE: &str = "BUNDLE";

/// Runs all rows; tells all that fail.
fn try_all(rows: Vec<Row>) {
    let count = rows.len();
    let wrong: Vec<String> = rows.into_iter().filter_map(|row| failure(row).err()).collect();
    assert!(wrong.is_empty(), "{} of {count} rows:\n{}", wrong.len(), wrong.join("\n"));
}

fn failure((name, changes, then): Row) -> Result<(), String> {
    let script = match &then {
        Then::Prints(script, _) | Then::Warns(_, script, _) => *script,
        // Long enough for what fails beside the program.
        Refused(_) => "sleep 60; echo it ran",
    };
    let mut bundle = Bundle::sh(script);
    prepare(&bundle);
    for (pointer, value) in changes {
        let text = value.to_string().replace(BUNDLE, bundle.dir.to_str().unwrap());
        bundle = bundle.set(pointer, serde_json::from_str(&text).unwrap());
    }
    let done = bundle.run();
    let as_it_should = match &then {
        Then::Prints(_, output) => done.status == 0 && done.stdout.trim_end() == *output && done.stderr.is_empty(),
        Then::Warns(reason, _, output) => {
            let warnings = Report::warnings(&done.stderr);
            warnings.iter().for_each(sentences::compare);
            // A name that three lists have is left out three times.
            let first = warnings.first().map(Report::to_string);
            done.status == 0 && done.stdout.trim_end() == *output && first.as_deref() == Some(*reason)
        }
        Refused(reason) => {
            let error = Report::error(&done.stderr).unwrap_or_default();
            sentences::compare(&error);
            done.status == 1 && error.is_for(reason) && done.stdout.is_empty()
        }
    };
    bundle.assert_nothing_left(name);
    let wanted = match then {
        Then::Prints(_, output) => output,
        Then::Warns(reason, _, output) => format!("{output}, with a warning for {reason:?}"),
        Refused(reason) => format!("a refusal for {reason:?}"),
    };
    if as_it_should { Ok(()) } else { Err(format!("{name}: {done:?}\n    wanted: {wanted:?}")) }
}

/// What some rows use of the bundle's directory.
fn prepare(bundle: &Bundle) {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let rootfs = bundle.rootfs();
    symlink("rootfs", bundle.dir.join("link")).unwrap();
    symlink("/tmp", rootfs.join("away")).unwrap();
    std::fs::create_dir(bundle.dir.join("source")).unwrap();
    std::fs::write(bundle.dir.join("source/file"), "from outside\n").unwrap();
    std::fs::create_dir(rootfs.join("full")).unwrap();
    std::fs::write(rootfs.join("full/file"), "of the image\n").unwrap();
    std::fs::set_permissions(rootfs.join("full"), std::fs::Permissions::from_mode(0o711)).unwrap();
    std::fs::write(rootfs.join("no-interpreter"), "echo ran").unwrap();
    std::fs::set_permissions(rootfs.join("no-interpreter"), std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn own_status(name: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t")).unwrap().to_owned()
}

/// As readlink prints them, a line each.
fn own_namespaces(names: &[&str]) -> String {
    let link = |name: &&str| std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
    names.iter().map(|name| link(name).to_str().unwrap().to_owned()).collect::<Vec<_>>().join("\n")
}

const STATUS: &str = "grep -o -E '^(CapAmb|NoNewPrivs):.*' /proc/self/status | tr '\\t' ' '";

#[test]
fn the_top_level() {
    need_root!();
    let root_mount = "touch /x 2>/dev/null && echo writable || echo read-only";
    let without_linux = match common::mounts_nowhere() {
        true => prints("cd /proc/self/ns; readlink mnt; readlink pid", own_namespaces(&["mnt", "pid"])),
        false => Refused("EINVAL /mounts/0"),
    };
    try_all(vec![
        ("ociVersion of a pre-release", vec![("/ociVersion", json!("1.0.2-dev"))], prints("echo ok", "ok")),
        ("ociVersion 2", vec![("/ociVersion", json!("2.0.0"))], Refused("/ociVersion")),
        ("ociVersion foo", vec![("/ociVersion", json!("foo"))], Refused("/ociVersion")),
        ("ociVersion absent", vec![("/ociVersion", json!(null))], Refused("/ociVersion")),
        ("an unknown property", vec![("/nosuch", json!({ "a": 1 }))], Then::Warns("/nosuch", "echo ok", "ok")),
        ("root.path relative", vec![("/root/path", json!("rootfs/"))], prints("ls -d /bin/busybox", "/bin/busybox")),
        ("root.path absolute", vec![("/root/path", json!("BUNDLE/rootfs"))], prints("echo ok", "ok")),
        ("root.path a symlink", vec![("/root/path", json!("link"))], Refused("/root/path")),
        ("root absent", vec![("/root", json!(null))], Refused("/root")),
        ("root.readonly", vec![("/root/readonly", json!(true))], prints(root_mount, "read-only")),
        ("root writable", vec![("/root/readonly", json!(false))], prints(root_mount, "writable")),
        ("hostname", vec![("/hostname", json!("box"))], prints("hostname", "box")),
        (
            "hostname without a UTS namespace",
            vec![("/hostname", json!("box")), ("/linux/namespaces", json!([{ "type": "mount" }]))],
            Refused("/hostname"),
        ),
        (
            "domainname",
            vec![("/domainname", json!("d.example"))],
            prints("cat /proc/sys/kernel/domainname", "d.example"),
        ),
        ("linux absent", vec![("/linux", json!(null)), ("/hostname", json!(null))], without_linux),
        ("mounts absent", vec![("/mounts", json!(null))], prints("echo /proc/*", "/proc/*")),
        (
            "annotations",
            vec![
                ("/annotations", json!({ "a.b/c": "d" })),
                (
                    "/hooks",
                    json!({ "startContainer": [{ "path": "/bin/sh", "args": ["sh", "-c", "cat >/tmp/state"] }] }),
                ),
                ("/root/readonly", json!(false)),
            ],
            prints("grep -o '\"a.b/c\":\"d\"' /tmp/state", "\"a.b/c\":\"d\""),
        ),
        ("other platforms", vec![("/windows", json!({})), ("/vm", json!({ "kernel": 1 }))], prints("echo ok", "ok")),
    ]);
}

#[test]
fn the_process() {
    need_root!();
    let user = |user: Value| ("/process/user", user);
    try_all(vec![
        ("cwd", vec![("/process/cwd", json!("/tmp"))], prints("pwd", "/tmp")),
        (
            "cwd that is not there",
            vec![("/process/cwd", json!("/made/for/it")), ("/root/readonly", json!(true))],
            prints("pwd", "/made/for/it"),
        ),
        ("cwd relative", vec![("/process/cwd", json!("tmp"))], Refused("/process/cwd")),
        (
            "env",
            vec![("/process/env/9", json!("A=b c")), ("/process/env", json!(["PATH=/bin", "A=b c"]))],
            prints("echo $A", "b c"),
        ),
        ("env without =", vec![("/process/env/0", json!("A"))], Refused("/process/env/0")),
        ("env without PATH", vec![("/process/env", json!([]))], prints("echo ok", "ok")),
        ("HOME of root", vec![("/process/env", json!(["PATH=/bin"]))], prints("echo $HOME", "/root")),
        (
            "HOME of a user",
            vec![("/process/env", json!(["PATH=/bin"])), user(json!({ "uid": 1000, "gid": 1000 }))],
            prints("echo $HOME", "/"),
        ),
        ("HOME given", vec![("/process/env", json!(["PATH=/bin", "HOME=/x"]))], prints("echo $HOME", "/x")),
        ("args empty", vec![("/process/args", json!([]))], Refused("/process/args")),
        ("args missing", vec![("/process/args", json!(["nosuch"]))], Refused("/process/args")),
        (
            "args without a format",
            vec![("/process/args", json!(["/no-interpreter"]))],
            Refused("ENOEXEC /process/args"),
        ),
        ("args of a directory", vec![("/process/args", json!(["/bin"]))], Refused("EACCES /process/args")),
        ("user.uid, user.gid", vec![user(json!({ "uid": 7, "gid": 8 }))], prints("echo $(id -u) $(id -g)", "7 8")),
        ("user.uid -1", vec![user(json!({ "uid": 4294967295u32, "gid": 0 }))], Refused("/process/user/uid")),
        ("user.umask absent", vec![user(json!({ "uid": 0, "gid": 0 }))], prints("umask", "0022")),
        ("user.umask", vec![user(json!({ "uid": 0, "gid": 0, "umask": 0o077 }))], prints("umask", "0077")),
        (
            "user.additionalGids",
            vec![user(json!({ "uid": 1, "gid": 2, "additionalGids": [5, 6] }))],
            prints("id -G", "2 5 6"),
        ),
        (
            "consoleSize without a terminal",
            vec![("/process/consoleSize", json!({ "height": 9, "width": 70_000 }))],
            prints("echo ok", "ok"),
        ),
        (
            "consoleSize that no terminal has",
            vec![("/process/terminal", json!(true)), ("/process/consoleSize", json!({ "height": 9, "width": 70_000 }))],
            Refused("/process/consoleSize"),
        ),
        ("commandLine", vec![("/process/commandLine", json!("x"))], prints("echo ok", "ok")),
    ]);
}

#[test]
fn what_the_process_may_do() {
    need_root!();
    let user = |user: Value| ("/process/user", user);
    let capabilities = |names: &[&str]| json!({ "bounding": names, "permitted": names, "effective": names });
    let ambient = json!({ "bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"] });
    let kill_alone = "grep -E '^Cap(Eff|Bnd)' /proc/self/status | cut -f2 | uniq";
    try_all(vec![
        (
            "capabilities",
            vec![("/process/capabilities", capabilities(&["CAP_KILL"]))],
            prints(kill_alone, "0000000000000020"),
        ),
        (
            "capabilities absent",
            vec![("/process/capabilities", json!(null))],
            prints("grep CapEff /proc/self/status | cut -f2", own_status("CapEff")),
        ),
        (
            "capabilities unknown",
            vec![("/process/capabilities", capabilities(&["CAP_KILL", "CAP_NEW"]))],
            Then::Warns("/process/capabilities/bounding/1", kill_alone, "0000000000000020"),
        ),
        (
            "capabilities ambient of a user",
            vec![
                ("/process/capabilities", ambient),
                user(json!({ "uid": 1000, "gid": 1000 })),
                ("/process/noNewPrivileges", json!(false)),
            ],
            prints(STATUS, "CapAmb: 0000000000000020\nNoNewPrivs: 0"),
        ),
        (
            "rlimits",
            vec![("/process/rlimits", json!([{ "type": "RLIMIT_CORE", "soft": 512, "hard": 1024 }]))],
            prints("grep core /proc/self/limits | tr -s ' '", "Max core file size 512 1024 bytes"),
        ),
        (
            "rlimits of few files",
            vec![("/process/rlimits", json!([{ "type": "RLIMIT_NOFILE", "soft": 3, "hard": 3 }]))],
            prints("ulimit -n", "3"),
        ),
        (
            "rlimits twice",
            vec![(
                "/process/rlimits",
                json!([{ "type": "RLIMIT_CORE", "soft": 1, "hard": 1 }, { "type": "RLIMIT_CORE", "soft": 1, "hard": 1 }]),
            )],
            Refused("/process/rlimits/1"),
        ),
        (
            "rlimits unknown",
            vec![("/process/rlimits", json!([{ "type": "RLIMIT_X", "soft": 1, "hard": 1 }]))],
            Refused("/process/rlimits/0/type"),
        ),
        (
            "noNewPrivileges",
            vec![("/process/noNewPrivileges", json!(true))],
            prints(STATUS, "CapAmb: 0000000000000000\nNoNewPrivs: 1"),
        ),
        ("oomScoreAdj", vec![("/process/oomScoreAdj", json!(333))], prints("cat /proc/self/oom_score_adj", "333")),
        ("oomScoreAdj too high", vec![("/process/oomScoreAdj", json!(1001))], Refused("/process/oomScoreAdj")),
    ]);
}

#[test]
fn how_the_process_is_scheduled() {
    need_root!();
    try_all(vec![
        (
            "scheduler",
            vec![(
                "/process/scheduler",
                json!({ "policy": "SCHED_BATCH", "nice": 3, "flags": ["SCHED_FLAG_RESET_ON_FORK"] }),
            )],
            prints("cut -d' ' -f19,41 /proc/$$/stat", "3 3"),
        ),
        (
            "scheduler unknown",
            vec![("/process/scheduler", json!({ "policy": "SCHED_X" }))],
            Refused("/process/scheduler/policy"),
        ),
        (
            "ioPriority",
            vec![("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_BE", "priority": 6 }))],
            prints("busybox ionice -p $$", "best-effort: prio 6"),
        ),
        (
            "ioPriority without a priority",
            vec![("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_BE" }))],
            prints("busybox ionice -p $$", "best-effort: prio 0"),
        ),
        (
            "ioPriority with a priority of null",
            vec![("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_BE", "priority": null }))],
            prints("busybox ionice -p $$", "best-effort: prio 0"),
        ),
        (
            "execCPUAffinity",
            vec![("/process/execCPUAffinity", json!({ "initial": "0", "final": "0" }))],
            prints("grep Cpus_allowed_list /proc/self/status | cut -f2", own_status("Cpus_allowed_list")),
        ),
        (
            "execCPUAffinity wrong",
            vec![("/process/execCPUAffinity", json!({ "initial": "3-1" }))],
            Refused("/process/execCPUAffinity/initial"),
        ),
    ]);
}

#[test]
fn security_modules_that_are_not_there() {
    need_root!();
    let mut rows = Vec::new();
    match Path::new("/sys/module/apparmor").exists() {
        true => skip("this kernel has AppArmor: that it is missing cannot be shown"),
        false => rows.push((
            "apparmorProfile",
            vec![("/process/apparmorProfile", json!("p"))],
            Refused("/process/apparmorProfile"),
        )),
    }
    match Path::new("/sys/fs/selinux/policy").exists() {
        true => skip("this kernel has SELinux: that it is missing cannot be shown"),
        false => {
            rows.push(("selinuxLabel", vec![("/process/selinuxLabel", json!("l"))], Refused("/process/selinuxLabel")));
            rows.push(("mountLabel", vec![("/linux/mountLabel", json!("l"))], Refused("/linux/mountLabel")));
        }
    }
    try_all(rows);
}

#[test]
fn namespaces() {
    need_root!();
    let mut rows = Vec::new();
    for (kind, file) in [
        ("pid", "pid"),
        ("network", "net"),
        ("ipc", "ipc"),
        ("uts", "uts"),
        ("mount", "mnt"),
        ("cgroup", "cgroup"),
        ("time", "time"),
    ] {
        // The number is 1 if the container's namespace is the host's.
        let host = std::fs::read_link(format!("/proc/self/ns/{file}")).unwrap();
        let script: &'static str = format!("readlink /proc/self/ns/{file} | grep -c -F '{}'", host.display()).leak();
        let mut all = vec![json!({ "type": "mount" })];
        all.extend((kind != "mount").then(|| json!({ "type": kind })));
        let path = format!("/proc/{}/ns/{file}", std::process::id());
        let plain = vec![
            ("/linux/namespaces", json!(all)),
            ("/hostname", json!("")),
            ("/linux/readonlyPaths", json!([])),
            ("/mounts", json!([{ "destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"] }])),
        ];
        // A procfs belongs to a pid namespace: the host's shows ferrun's children by their host's pid.
        if kind == "pid" {
            let mut own = plain.clone();
            own.pop();
            rows.push(("a new pid namespace", own, prints("echo $$", "1")));
        } else {
            rows.push((
                &*format!("a new {kind} namespace").leak(),
                plain.clone(),
                prints(format!("{script} || true").leak(), "0"),
            ));
        }
        if kind != "mount" {
            let joined = plain.into_iter().map(|(pointer, value)| match pointer {
                "/linux/namespaces" => (pointer, json!([{ "type": "mount" }, { "type": kind, "path": path }])),
                _ => (pointer, value),
            });
            rows.push((&*format!("a joined {kind} namespace").leak(), joined.collect(), prints(script, "1")));
        }
    }
    try_all(rows);
}

#[test]
fn what_namespaces_are_refused_and_what_belongs_to_them() {
    need_root!();
    let list = |list: Value| vec![("/linux/namespaces", list), ("/hostname", json!(""))];
    let net = format!("/proc/{}/ns/net", std::process::id());
    try_all(vec![
        (
            "a namespace twice",
            list(json!([{ "type": "mount" }, { "type": "ipc" }, { "type": "ipc" }])),
            Refused("/linux/namespaces/2"),
        ),
        (
            "a namespace of the wrong kind",
            list(json!([{ "type": "mount" }, { "type": "ipc", "path": net }])),
            Refused("/linux/namespaces/1/path"),
        ),
        (
            "a namespace that is not there",
            list(json!([{ "type": "mount" }, { "type": "ipc", "path": "/nosuch" }])),
            Refused("ENOENT /linux/namespaces/1/path"),
        ),
        (
            "a namespace nobody knows",
            list(json!([{ "type": "mount" }, { "type": "net" }])),
            Refused("/linux/namespaces/1/type"),
        ),
        (
            "timeOffsets",
            vec![
                ("/linux/namespaces/6", json!({ "type": "time" })),
                ("/linux/timeOffsets", json!({ "monotonic": { "secs": 100, "nanosecs": 7 } })),
            ],
            prints("grep monotonic /proc/self/timens_offsets | tr -s ' '", "monotonic 100 7"),
        ),
        (
            "timeOffsets without a time namespace",
            vec![("/linux/timeOffsets", json!({ "boottime": { "secs": 1 } }))],
            Refused("/linux/timeOffsets/boottime"),
        ),
        (
            "uidMappings without a user namespace",
            vec![("/linux/uidMappings", json!([{ "containerID": 0, "hostID": 0, "size": 1 }]))],
            Then::Warns("/linux/uidMappings", "echo ok", "ok"),
        ),
        (
            "netDevices without a network namespace",
            vec![
                ("/linux/namespaces", json!([{ "type": "mount" }, { "type": "uts" }])),
                ("/linux/netDevices", json!({ "x": {} })),
            ],
            Refused("/linux/netDevices"),
        ),
        (
            "netDevices of a link that is not there",
            vec![("/linux/netDevices", json!({ "nosuch0": {} }))],
            Refused("ENODEV /linux/netDevices/nosuch0"),
        ),
    ]);
}

#[test]
fn devices() {
    need_root!();
    let device = |device: Value| vec![("/linux/devices", json!([device])), ("/root/readonly", json!(false))];
    let present = "for name in null zero full random urandom tty; do test -c /dev/$name || echo no $name; done; \
                   for name in fd stdin stdout stderr ptmx; do readlink /dev/$name; done";
    try_all(vec![
        (
            "the default devices",
            vec![],
            prints(present, "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx"),
        ),
        (
            "a device in /dev",
            device(
                json!({ "path": "/dev/d/x", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 1, "gid": 2 }),
            ),
            prints("stat -c '%F %a %u:%g %t:%T' /dev/d/x", "character special file 640 1:2 1:3"),
        ),
        (
            "a device elsewhere",
            device(json!({ "path": "/disk", "type": "b", "major": 7, "minor": 0, "fileMode": 0o600 })),
            prints("stat -c '%F %a %t:%T' /disk", "block special file 600 7:0"),
        ),
        (
            "a fifo",
            device(json!({ "path": "/dev/pipe", "type": "p", "fileMode": 0o666 })),
            prints("stat -c '%F %a' /dev/pipe", "fifo 666"),
        ),
        (
            "/dev/null as another",
            device(json!({ "path": "/dev/null", "type": "c", "major": 1, "minor": 5 })),
            Refused("/linux/devices/0"),
        ),
        ("a device without a number", device(json!({ "path": "/dev/x", "type": "c" })), Refused("/linux/devices/0")),
        (
            "a device of no kind",
            device(json!({ "path": "/dev/x", "type": "x", "major": 1, "minor": 1 })),
            Refused("/linux/devices/0/type"),
        ),
    ]);
}

#[test]
fn the_rest_of_linux() {
    need_root!();
    let hidden = "wc -c 2>/dev/null </proc/x; wc -c </full/file; ls /tmp | wc -l; stat -f -c %T /tmp";
    let sysctl = |name: &str, value: &str| vec![("/linux/sysctl", json!({ name: value }))];
    let propagation = |value: &str| vec![("/linux/rootfsPropagation", json!(value))];
    // The optional fields of the root's line, without their numbers.
    let root = "grep ' / / \\| /rootfs / \\|/rootfs / ' /proc/self/mountinfo | tail -n1 | sed 's/ - .*//' | tr ' ' '\\n' | sed 's/:.*//' | tail -n +7 | sort | tr '\\n' ' '";
    let mut rows: Vec<Row> = vec![
        (
            "maskedPaths",
            vec![("/linux/maskedPaths", json!(["/full/file", "/tmp", "/proc/x", "/nosuch"]))],
            prints(hidden, "0\n0\ntmpfs"),
        ),
        ("maskedPaths relative", vec![("/linux/maskedPaths", json!(["tmp"]))], Refused("/linux/maskedPaths/0")),
        (
            "readonlyPaths",
            vec![("/linux/readonlyPaths", json!(["/full", "/nosuch"])), ("/root/readonly", json!(false))],
            prints("touch /full/x 2>/dev/null || echo read-only; touch /x && echo writable", "read-only\nwritable"),
        ),
        (
            "readonlyPaths of the root",
            vec![("/linux/readonlyPaths", json!(["/tmp/../"])), ("/root/readonly", json!(false))],
            prints("touch /x /dev/shm/x 2>&1 | grep -c Read-only", "2"),
        ),
        (
            "maskedPaths of the root",
            vec![("/linux/maskedPaths", json!(["/proc/x", "/."]))],
            Refused("/linux/maskedPaths/1"),
        ),
        ("sysctl with dots", sysctl("net.ipv4.ip_forward", "1"), prints("cat /proc/sys/net/ipv4/ip_forward", "1")),
        ("sysctl with slashes", sysctl("net/ipv4/ip_forward", "1"), prints("cat /proc/sys/net/ipv4/ip_forward", "1")),
        ("sysctl of ipc", sysctl("kernel.msgmax", "4096"), prints("cat /proc/sys/kernel/msgmax", "4096")),
        (
            "sysctl of message queues",
            sysctl("fs.mqueue.msg_max", "11"),
            prints("cat /proc/sys/fs/mqueue/msg_max", "11"),
        ),
        ("sysctl of the host", sysctl("kernel.core_pattern", "x"), Refused("/linux/sysctl/kernel.core_pattern")),
        ("sysctl kernel.hostname", sysctl("kernel.hostname", "x"), Refused("/linux/sysctl/kernel.hostname")),
        ("sysctl with ..", sysctl("net/../../../tmp/x", "1"), Refused("/linux/sysctl/net~1..~1..~1..~1tmp~1x")),
        ("rootfsPropagation wrong", propagation("rsharedd"), Refused("/linux/rootfsPropagation")),
        ("rootfsPropagation private", propagation("rprivate"), prints(root, "")),
        ("rootfsPropagation slave", propagation("rslave"), prints("echo ok", "ok")),
        ("rootfsPropagation shared", propagation("rshared"), prints(root, "shared")),
        ("rootfsPropagation unbindable", propagation("unbindable"), prints(root, "unbindable")),
        (
            "personality",
            vec![("/linux/personality", json!({ "domain": "LINUX" }))],
            prints("cat /proc/self/personality", "00000000"),
        ),
        (
            "personality of 32 bits",
            vec![("/linux/personality", json!({ "domain": "LINUX32" }))],
            prints("cat /proc/self/personality", "00000008"),
        ),
        (
            "personality flags",
            vec![("/linux/personality", json!({ "domain": "LINUX", "flags": ["X"] }))],
            Refused("/linux/personality/flags/0"),
        ),
        (
            "memoryPolicy wrong",
            vec![("/linux/memoryPolicy", json!({ "mode": "MPOL_X" }))],
            Refused("/linux/memoryPolicy/mode"),
        ),
        (
            "memoryPolicy without nodes",
            vec![("/linux/memoryPolicy", json!({ "mode": "MPOL_BIND" }))],
            Refused("/linux/memoryPolicy/nodes"),
        ),
    ];
    match Path::new("/proc/self/numa_maps").exists() {
        false => skip("this kernel has no NUMA support"),
        true => rows.push((
            "memoryPolicy",
            vec![("/linux/memoryPolicy", json!({ "mode": "MPOL_BIND", "nodes": "0" }))],
            prints("grep -c -v bind:0 /proc/self/numa_maps || true", "0"),
        )),
    }
    match Path::new("/sys/fs/resctrl/schemata").exists() {
        true => skip("this host has resctrl: that it is missing cannot be shown"),
        false => {
            rows.push(("intelRdt", vec![("/linux/intelRdt", json!({ "closID": "c" }))], Refused("/linux/intelRdt")))
        }
    }
    try_all(rows);
}

#[test]
fn mounts() {
    need_root!();
    let mount = |entry: Value| vec![("/mounts/7", entry), ("/root/readonly", json!(false))];
    let bind = |source: &str, destination: &str, options: &[&str]| {
        mount(json!({ "destination": destination, "type": "bind", "source": source, "options": options }))
    };
    let tmpfs = |destination: &str, options: &[&str]| {
        mount(json!({ "destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options }))
    };
    let ids = json!([{ "containerID": 0, "hostID": 4000, "size": 10 }]);
    let mapped = json!({ "destination": "/m", "source": "source", "options": ["bind", "idmap"], "uidMappings": ids, "gidMappings": ids });
    try_all(vec![
        ("over the root", bind("source", "/", &["remount"]), Refused("/mounts/7/destination")),
        ("over /proc", tmpfs("/proc", &[]), Refused("/mounts/7/destination")),
        ("inside /proc", tmpfs("/proc/sys", &[]), Refused("/mounts/7/destination")),
        (
            "over a file of /proc",
            bind("source/file", "/proc/uptime", &["bind"]),
            prints("cat /proc/uptime", "from outside"),
        ),
        ("a relative destination", tmpfs("m", &[]), Then::Warns("/mounts/7/destination", "stat -f -c %T /m", "tmpfs")),
        ("a relative source", bind("source", "/m", &["bind"]), prints("cat /m/file", "from outside")),
        ("an absolute source", bind("BUNDLE/source", "/m", &["rbind"]), prints("cat /m/file", "from outside")),
        (
            "a file at a place that is not there",
            bind("source/file", "/a/b/c/f", &["bind"]),
            prints("cat /a/b/c/f", "from outside"),
        ),
        ("through a link", bind("source/file", "/away/x/f", &["bind"]), prints("cat /tmp/x/f", "from outside")),
        ("a source that is not there", bind("nosuch", "/m", &["bind"]), Refused("ENOENT /mounts/7")),
        ("data on a bind", bind("source", "/m", &["bind", "size=1k"]), Refused("/mounts/7/options/1")),
        ("a word nobody knows on a bind", bind("source", "/m", &["bind", "nodevv"]), Refused("/mounts/7/options/1")),
        ("a word nobody knows on a tmpfs", tmpfs("/m", &["nodevv"]), Refused("EINVAL /mounts/7")),
        ("defaults on a tmpfs", tmpfs("/m", &["defaults"]), prints("stat -f -c %T /m", "tmpfs")),
        ("defaults on a bind", bind("source", "/m", &["bind", "defaults"]), prints("cat /m/file", "from outside")),
        ("an empty option of a tmpfs", tmpfs("/m", &["", "mode=700"]), prints("stat -c %a /m", "700")),
        ("an empty option of a bind", bind("source", "/m", &["bind", ""]), prints("cat /m/file", "from outside")),
        ("a tmpfs has the mode of its mount point", tmpfs("/full", &[]), prints("stat -c %a /full", "711")),
        ("a tmpfs with a mode", tmpfs("/full", &["mode=0700"]), prints("stat -c %a /full", "700")),
        (
            "a tmpfs with a size",
            tmpfs("/m", &["size=64k"]),
            prints("df -k /m | tail -n1 | tr -s ' ' | cut -d' ' -f2", "64"),
        ),
        (
            "tmpcopyup",
            tmpfs("/full", &["tmpcopyup"]),
            prints("cat /full/file; stat -f -c %T /full", "of the image\ntmpfs"),
        ),
        ("tmpcopyup of a bind", bind("source", "/m", &["bind", "tmpcopyup"]), Refused("/mounts/7/options")),
        ("idmap", mount(mapped), prints("stat -c %u:%g /m/file", "4000:4000")),
        ("idmap of a tmpfs", tmpfs("/m", &["idmap"]), Refused("/mounts/7/options")),
        (
            "remount of no mount",
            mount(json!({ "destination": "/full", "options": ["remount", "ro"] })),
            Refused("EINVAL /mounts/7"),
        ),
        (
            "a type that the kernel has not",
            mount(json!({ "destination": "/m", "type": "nofs", "source": "x" })),
            Refused("ENODEV /mounts/7"),
        ),
        ("no type", mount(json!({ "destination": "/m" })), Refused("/mounts/7/type")),
        (
            "a cgroup mount",
            mount(json!({ "destination": "/cg", "type": "cgroup", "source": "cgroup", "options": ["ro"] })),
            prints("test -n \"$(ls /cg)\" && echo there", "there"),
        ),
    ]);
}

#[test]
fn hooks() {
    need_root!();
    let hook =
        |kind: &'static str, hook: Value| vec![("/hooks", json!({ kind: [hook] })), ("/root/readonly", json!(false))];
    let sh = |script: &str| json!({ "path": "/bin/sh", "args": ["sh", "-c", script] });
    // Status and directory, as each hook finds them; those outside write through the bundle.
    let look = "grep -o '\"status\":\"[a-z]*\"' >BUNDLE/rootfs/tmp/seen; pwd >>BUNDLE/rootfs/tmp/seen";
    let seen = "sed -e 's/\"//g' -e 's,/.*/ferrun-test[^/]*,BUNDLE,' /tmp/seen";
    try_all(vec![
        ("prestart", hook("prestart", sh(look)), prints(seen, "status:creating\nBUNDLE")),
        ("createRuntime", hook("createRuntime", sh(look)), prints(seen, "status:creating\nBUNDLE")),
        ("createContainer", hook("createContainer", sh(look)), prints(seen, "status:creating\nBUNDLE/rootfs")),
        (
            "startContainer",
            hook("startContainer", sh("grep -o '\"status\":\"[a-z]*\"' >/tmp/seen; pwd >>/tmp/seen")),
            prints(seen, "status:created\n/"),
        ),
        (
            "poststart",
            hook("poststart", sh(look)),
            prints(
                "until test -s /tmp/seen; do sleep 0.01; done; sleep 0.1; sed 's/\"//g;q' /tmp/seen",
                "status:running",
            ),
        ),
        ("poststop", hook("poststop", sh("cat >/dev/null")), prints("echo ok", "ok")),
        (
            "the environment of a hook",
            hook(
                "createRuntime",
                json!({ "path": "/bin/sh", "args": ["sh", "-c", "echo $A$HOME >BUNDLE/rootfs/tmp/seen"], "env": ["A=b"] }),
            ),
            prints("cat /tmp/seen", "b"),
        ),
        ("a path that is relative", hook("prestart", json!({ "path": "sh" })), Refused("/hooks/prestart/0/path")),
        (
            "a path that is not there",
            hook("createRuntime", json!({ "path": "/nosuch" })),
            Refused("ENOENT /hooks/createRuntime/0"),
        ),
        ("a hook that fails", hook("createContainer", sh("echo why >&2; exit 3")), Refused("/hooks/createContainer/0")),
        (
            "a hook that takes too long",
            hook("createRuntime", json!({ "path": "/bin/sleep", "args": ["sleep", "100"], "timeout": 1 })),
            Refused("/hooks/createRuntime/0"),
        ),
        (
            "a timeout of 0",
            hook("createRuntime", json!({ "path": "/bin/sh", "timeout": 0 })),
            Refused("/hooks/createRuntime/0/timeout"),
        ),
        (
            "a poststop hook that fails",
            hook("poststop", sh("exit 3")),
            Then::Warns("/hooks/poststop/0", "echo ok", "ok"),
        ),
        ("a poststart hook that fails", hook("poststart", sh("exit 3")), Refused("/hooks/poststart/0")),
        ("a kind that nobody knows", hook("prestop", sh("exit 3")), Then::Warns("/hooks/prestop", "echo ok", "ok")),
    ]);
}
