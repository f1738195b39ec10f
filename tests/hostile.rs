//! Configs and programs that attack the host or ferrun itself, after published attacks on container
//! runtimes. What images can do is in hostile_image.rs.

mod common;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Instant;

use common::{Bundle, Canary, ferrun_binary};
use nix::sys::statvfs::{FsFlags, statvfs};
use serde_json::{Value, json};

fn writable(config: &mut Value) {
    config["root"]["readonly"] = json!(false);
}

// CVE-2016-3697
#[test]
fn a_user_name_that_looks_like_a_number_is_no_user() {
    need_root!();
    let bundle =
        Bundle::sh("id -u; id -g").with(|config| config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 }));
    std::fs::write(bundle.rootfs().join("etc/passwd"), "1000:x:0:0::/:/bin/sh\n").unwrap();
    std::fs::write(bundle.rootfs().join("etc/group"), "1000:x:0:\n").unwrap();
    assert_eq!(bundle.run().ok(), "1000\n1000");
}

// D-X2: -1 tells the kernel to leave an id as it is, which is root's.
#[test]
fn ids_that_the_kernel_would_read_as_leave_it_are_refused() {
    need_root!();
    for id in [json!(u32::MAX), json!(-1), json!(1u64 << 32), json!(u64::MAX), json!("0"), json!(1.5)] {
        for place in ["uid", "gid", "additionalGids"] {
            let value = if place == "additionalGids" { json!([id]) } else { id.clone() };
            let done = Bundle::sh("id").with(|config| config["process"]["user"][place] = value).run();
            assert!(done.stdout.is_empty() && done.error().pointer.contains(place), "{place} {id}: {done:?}");
        }
    }
}

// D-X1, D-X5
#[test]
fn ids_of_containers_are_no_paths() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    bundle.create().ok();
    let canary = Canary::beside(&bundle);
    let dir = bundle.dir.to_str().unwrap();
    let long = "a".repeat(256);
    for id in ["..", ".", "", "a b", "a/b", "../x", "../canary", "\u{e4}", "a\n", "*", &long] {
        for args in [
            &["delete", "--force"][..],
            &["state"],
            &["kill"],
            &["start"],
            &["create", "--bundle", dir],
            &["run", "--bundle", dir],
        ] {
            let done = bundle.ferrun(&[args, &["--", id]].concat());
            assert!(done.status == 1 && done.stderr.contains("container"), "{args:?} {id:?}: {done:?}");
        }
    }
    assert_eq!(bundle.status(), "created", "the other container is still there");
    canary.assert_alive("an id");
}

// CVE-2019-5736
#[test]
fn ferrun_is_never_executed_inside() {
    need_root!();
    for (name, text) in
        [("script", "#!/proc/self/exe\n"), ("script", "#!/proc/self/exe version\n"), ("link", "/proc/self/exe")]
    {
        let bundle = Bundle::new(&[&format!("/{name}"), "version"]);
        let path = bundle.rootfs().join(name);
        match name {
            "script" => std::fs::write(&path, text).unwrap(),
            _ => symlink(text, &path).unwrap(),
        }
        if name == "script" {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        }
        let done = bundle.run();
        let ran = done.status == 0 || done.status == 3 || !done.stdout.is_empty();
        assert!(!ran && done.stderr.contains("exec: "), "{text:?} ran ferrun itself: {done:?}");
    }
}

// CVE-2019-5736
#[test]
fn the_binary_cannot_be_written_through_the_init() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "100"]);
    bundle.create().ok();
    let exe = format!("/proc/{}/exe", bundle.state()["pid"]);
    let from_memory = std::fs::read_link(&exe).unwrap().to_str().unwrap().starts_with("/memfd:");
    let read_only = statvfs(exe.as_str()).unwrap().flags().contains(FsFlags::ST_RDONLY);
    assert!(read_only || from_memory, "the waiting init runs from a file that can be written");
    // An attacker keeps the file open and writes when nothing runs from it any more.
    let kept = std::fs::File::open(&exe).unwrap();
    bundle.delete_force().ok();
    let again = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&kept));
    let opened = std::fs::OpenOptions::new().append(true).open(again);
    assert!(opened.is_err(), "the binary is open for writing");
}

// CVE-2019-5736
#[test]
fn a_scanner_among_the_hosts_processes_gets_at_no_starting_ferrun() {
    need_root!();
    // It sees the host's processes, and tries to get any one's program while others start.
    let script = "while [ ! -e /tmp/stop ]; do
        for exe in /proc/[0-9]*/exe; do
            [ $exe = /proc/$$/exe ] && continue
            if true < $exe; then echo read $(readlink $exe) >> /tmp/hits; fi
            if true >> $exe; then echo write $(readlink $exe) >> /tmp/hits; fi
        done 2>/dev/null
        echo round >> /tmp/rounds; done";
    let scanner = Bundle::sh(script).with(writable).with(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|one| one["type"] != "pid");
    });
    let before = std::fs::read(ferrun_binary()).unwrap();
    scanner.create().ok();
    scanner.start().ok();
    let rounds = || std::fs::read_to_string(scanner.rootfs().join("tmp/rounds")).unwrap_or_default().lines().count();
    common::wait_until("the first round", || rounds() > 0);
    let first = rounds();
    let other = Bundle::new(&["true"]);
    for _ in 0..20 {
        other.run().ok();
    }
    // Starts are quicker than rounds on a busy machine; some must have fallen together.
    let begin = Instant::now();
    while rounds() < first + 5 && begin.elapsed() < common::patience(10) {
        other.run().ok();
    }
    std::fs::write(scanner.rootfs().join("tmp/stop"), "").unwrap();
    assert!(rounds() >= first + 5, "the scanner did not run");
    let hits = std::fs::read_to_string(scanner.rootfs().join("tmp/hits")).unwrap_or_default();
    let ours: Vec<&str> = hits.lines().filter(|hit| hit.contains("ferrun") || hit.starts_with("write")).collect();
    assert!(ours.is_empty(), "{ours:?}");
    assert!(std::fs::read(ferrun_binary()).unwrap() == before, "the binary was changed");
}

// CVE-2024-21626
#[test]
fn no_descriptor_of_the_host_is_a_way_out() {
    need_root!();
    let mut bundle = Bundle::sh("pwd; ls; cat canary/secret");
    let canary = Canary::beside(&bundle);
    for number in 3..=20 {
        for path in [format!("/proc/self/fd/{number}"), format!("/proc/self/fd/{number}/canary")] {
            bundle = bundle.with(|config| config["process"]["cwd"] = json!(path));
            // Directories that the caller left open.
            let done = bundle.run_after("exec 7< / 8< /etc 9< $bundle");
            assert_eq!(done.stdout, "", "{path}");
            assert_eq!(done.error_in_any_words().pointer, "/process/cwd", "{path}: {done:?}");
        }
    }
    canary.assert_alive("cwd");
}

// CVE-2024-21626
#[test]
fn descriptors_of_the_caller_are_closed() {
    need_root!();
    // The last is the one that the shell lists the directory with.
    let bundle = Bundle::sh("cd /proc/self/fd; echo *");
    assert_eq!(bundle.run_after("exec 3< / 7< /etc 8> $bundle/out 9< $bundle").ok(), "0 1 2 3");
}

/// A caller may wait for the end of a pipe while the container runs.
#[test]
fn ferrun_itself_closes_what_the_caller_left_open() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "1000"]);
    let mut command = std::process::Command::new("/bin/busybox");
    command.args(["sh", "-c", "exec 7</etc 9</usr; exec \"$@\"", "sh"]).arg(common::ferrun_binary());
    command.arg("--root").arg(bundle.state_root()).args(["run", "--bundle"]).arg(&bundle.dir).arg(&bundle.id);
    let mut run = command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).spawn().unwrap();
    common::wait_until("the container", || bundle.on("state", &[]).stdout.contains("running"));
    let open = common::observe::descriptors(run.id().into());
    bundle.delete_force().ok();
    run.wait().unwrap();
    let of_caller = |(_, target): &&(u32, std::path::PathBuf)| target.starts_with("/etc") || target.starts_with("/usr");
    assert_eq!(open.iter().find(of_caller), None, "{open:?}");
}

// CVE-2021-43784: lengths that a message between parent and init cannot carry.
#[test]
fn sizes_have_no_limit_that_something_could_slip_past() {
    need_root!();
    let bundle = Bundle::sh("echo ${#BIG} $(grep -c ' /m/' /proc/self/mountinfo) $(grep CapEff /proc/self/status)");
    let plain = bundle.run().ok();
    let bundle = bundle.with(writable).with(|config| {
        config["annotations"] = json!({ "big": "x".repeat(2_000_000) });
        config["process"]["env"].as_array_mut().unwrap().push(json!(format!("BIG={}", "y".repeat(100_000))));
        let mount = |n| json!({ "destination": format!("/m/{n}"), "type": "tmpfs", "source": "tmpfs" });
        config["mounts"].as_array_mut().unwrap().extend((0..300).map(mount));
    });
    assert_eq!(bundle.run().ok(), plain.replacen("0 0", "100000 300", 1));
}

// D-X9
#[test]
fn a_program_of_no_known_format_is_not_given_to_a_shell() {
    need_root!();
    let bundle = Bundle::new(&["/program"]);
    std::fs::write(bundle.rootfs().join("program"), "echo ran\n").unwrap();
    std::fs::set_permissions(bundle.rootfs().join("program"), PermissionsExt::from_mode(0o755)).unwrap();
    let done = bundle.run();
    assert_eq!(done.stdout, "");
    done.fails("ENOEXEC /process/args");
}

/// CVE-2024-21626, its second half: execve resolves the program and its interpreter before it closes
/// anything, so a directory that the caller left open would be a way to the host's programs.
#[test]
fn a_directory_that_the_caller_left_open_leads_nowhere() {
    need_root!();
    let host = Bundle::new(&["true"]);
    for (args, script) in [
        (serde_json::json!(["/proc/self/fd/9/bin/busybox", "true"]), ""),
        (serde_json::json!(["/bin/x"]), "#!/proc/self/fd/9/bin/busybox true\n"),
    ] {
        let bundle = Bundle::new(&["true"]).with(|config| config["process"]["args"] = args.clone());
        let file = bundle.rootfs().join("bin/x");
        std::fs::write(&file, script).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let run = format!(
            "exec 9<{}; exec {} --root {} run --bundle {} {}",
            host.rootfs().display(),
            common::ferrun_binary().display(),
            bundle.state_root().display(),
            bundle.dir.display(),
            bundle.id
        );
        let done = common::Done::new(std::process::Command::new("sh").args(["-c", &run]).output().unwrap());
        assert_eq!(done.status, 1, "{args}: {done:?}");
        // The init's one descriptor may have this number.
        let nowhere = ["no such file or directory", "not a directory"].iter().any(|words| done.stderr.contains(words));
        assert!(nowhere, "{args}: {done:?}");
    }
}

/// Mounts a proc or sysfs in a user namespace, which needs one in the mount namespace that shows all of it.
fn revealing(kind: &str) -> Bundle {
    // sysfs belongs to a network namespace.
    let script = format!(
        "/bin/busybox unshare -mrnpf sh -c 'mount -t {kind} none /{} && echo MOUNTED'; echo ran",
        if kind == "proc" { "proc" } else { "sys" }
    );
    Bundle::sh(&script).with(|config| {
        // One of Docker's defaults, without which the root of the container cannot be mapped.
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set].as_array_mut().unwrap().push(json!("CAP_SETFCAP"));
        }
        config["linux"]["maskedPaths"] = json!(["/proc/version", "/sys/kernel"]);
    })
}

/// `ferrun run` in a mount namespace of its own, after some commands of a shell there.
fn run_prepared(bundle: &Bundle, flags: &str, before: &str, after: &str) -> common::Done {
    let script = format!(
        "set -e; mkdir -p $bundle/x/y; {before}\n$jail $ferrun --root $state run {flags} --bundle $bundle $id || status=$?
         {after}\nexit ${{status:-0}}"
    );
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &script]).stdin(std::process::Stdio::null());
    command.env("ferrun", ferrun_binary()).env("state", bundle.state_root()).env("id", &bundle.id);
    common::Done::new(command.env("bundle", &bundle.dir).env("jail", "").output().unwrap())
}

/// S5: a mount of proc or sysfs anywhere on the host, which stays below a root that is only moved.
#[test]
fn no_proc_or_sysfs_of_the_host_is_left_without_pivot_root() {
    need_root!();
    let mut control = std::process::Command::new("unshare");
    if !control.args(["-mrnpf", "mount", "-t", "proc", "none", "/proc"]).status().unwrap().success() {
        return common::skip("this test needs user namespaces that may mount proc");
    }
    let jail = "mkdir $bundle/jail; mount --bind / $bundle/jail; mount --rbind /sys $bundle/jail/sys; \
                mount -t proc proc $bundle/jail/proc; mount --rbind /dev $bundle/jail/dev; \
                mount --rbind $bundle $bundle/jail$bundle; jail=\"chroot $bundle/jail\"";
    for kind in ["proc", "sysfs"] {
        for before in [
            "",
            "mount -t KIND none $bundle/x",
            "mount -t KIND none $bundle/x; mount --bind $bundle/x $bundle/x",
            "mount -t KIND none $bundle/x/y; mount -t tmpfs none $bundle/x",
            "mount -t KIND none $bundle/x; mount -t tmpfs none $bundle/x; mount -t KIND none $bundle/x",
            "touch $bundle/file; mount --bind /proc/version $bundle/file",
            r#"mkdir "$bundle/a b\c"; mount -t KIND none "$bundle/a b\c""#,
            "mount -t KIND none $bundle/rootfs/tmp; mount --bind $bundle/rootfs $bundle/rootfs",
            "mount --rbind /proc $bundle/x; mount --rbind /sys $bundle/x/y 2>/dev/null || mount --rbind /sys $bundle/x",
            jail,
        ] {
            let done = run_prepared(&revealing(kind), "--no-pivot", &before.replace("KIND", kind), "");
            assert!(done.stderr.contains("mount: permission denied"), "the kernel refuses {kind}: {before} {done:?}");
            assert_eq!((done.status, done.stdout.as_str()), (0, "ran\n"), "{kind} {before}: {done:?}");
        }
    }
}

#[test]
fn what_is_unmounted_without_pivot_root_stays_on_a_host_that_shares_its_mounts() {
    need_root!();
    for (more, works) in [("", true), ("mount -t proc proc $bundle/x/y", false)] {
        let before = format!(
            "mount --make-rshared /; mount -t tmpfs none $bundle/x; mkdir $bundle/x/y; mount -t proc proc $bundle/x/y
             {more}\ncat /proc/self/mountinfo >$bundle/before"
        );
        let bundle = revealing("proc").set("/linux/rootfsPropagation", json!("rshared"));
        let done = run_prepared(&bundle, "--no-pivot", &before, "cat /proc/self/mountinfo >$bundle/after");
        let table = |name: &str| std::fs::read_to_string(bundle.dir.join(name)).unwrap();
        assert_eq!(table("before"), table("after"), "{more}: {done:?}");
        match works {
            true => assert_eq!((done.status, done.stdout.as_str()), (0, "ran\n"), "{done:?}"),
            // One of two on the same directory cannot be reached without the other's peers.
            false => done.fails("/root/path"),
        }
    }
}
