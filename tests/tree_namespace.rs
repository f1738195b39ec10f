//! The two ways to a mount namespace: a copy of the host's mounts that pivot_root(2) leaves, and one that begins with the
//! container's root alone (`OPEN_TREE_NAMESPACE`, Linux 7.0). What a container sees is the same. On an older kernel the
//! second is asked for as well, to see that all of it is left to the first.

mod common;

use std::process::Command;

use common::{Bundle, Done, MountLine, mount_lines, mounted_on, skip};
use serde_json::{Value, json};

const WAYS: [&str; 2] = ["never", "always"];

fn bind(source: &str, destination: &str) -> Value {
    json!({ "destination": destination, "source": source, "options": ["rbind"] })
}

fn tmpfs(destination: &str) -> Value {
    json!({ "destination": destination, "type": "tmpfs", "source": "tmpfs" })
}

fn bundle(script: &str, mounts: &[Value]) -> Bundle {
    let bundle = Bundle::sh(script).with(|config| {
        config["root"]["readonly"] = json!(false);
        config["mounts"].as_array_mut().unwrap().extend_from_slice(mounts);
    });
    for directory in ["host", "host/below", "rootfs/data"] {
        std::fs::create_dir_all(bundle.dir.join(directory)).unwrap();
    }
    std::fs::write(bundle.dir.join("host/marker"), "the source").unwrap();
    bundle
}

const RUN: &str = "$ferrun --root $bundle/state run --bundle $bundle c";

/// Makes a directory with the file of a mount namespace. On Linux 6.18 a namespace may look older than one that was there
/// before.
const KEEP: &str = "keep() {
        mkdir $1; mount -t tmpfs kept $1; mount --make-private $1; touch $1/namespace
        until unshare --mount=$1/namespace true 2>/dev/null; do i=$((i + 1)); [ $i -lt 1000 ]; done
        grep -q \"$1/namespace .* nsfs \" /proc/self/mountinfo
    }";

/// Runs a script on a host of its own, whose mounts are all shared.
fn on_host(bundle: &Bundle, way: &str, script: &str) -> Done {
    let script = format!("set -e; {KEEP}; mount --make-rshared /; mount --bind $bundle $bundle; {script}");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script.as_str()]).stdin(std::process::Stdio::null());
    command.env("bundle", &bundle.dir).env("ferrun", common::ferrun_binary()).env("FERRUN_TREE_NAMESPACE", way);
    Done::new(command.output().unwrap())
}

fn has_kernel() -> bool {
    ferrun::sys::release::is_at_least(7, 0) == Some(true)
}

/// The calls of a run by which a mount namespace is made or left, with raw arguments.
fn calls(bundle: &Bundle, way: &str) -> Option<Vec<String>> {
    let log = bundle.dir.join("strace");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-X", "raw", "-e", "trace=open_tree,unshare,setns,pivot_root", "-o"]).arg(&log);
    let ferrun = bundle.command(&["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
    command.arg(ferrun.get_program()).args(ferrun.get_args()).env("FERRUN_TREE_NAMESPACE", way);
    Done::new(command.output().ok()?).ok();
    Some(std::fs::read_to_string(log).unwrap().lines().map(str::to_owned).collect())
}

/// Whether a run copies the host's mounts.
fn copies(calls: &[String]) -> bool {
    let unshared = calls.iter().filter_map(|call| call.split_once("unshare(0x")?.1.split(')').next());
    let copied = unshared.filter(|flags| u64::from_str_radix(flags, 16).unwrap() & 0x20000 != 0).count();
    let pivoted = calls.iter().filter(|call| call.contains("pivot_root(")).count();
    assert_eq!(copied, pivoted, "{calls:?}");
    pivoted == 1
}

#[test]
fn the_hosts_mounts_are_copied_where_the_kernel_is_too_old_or_that_is_asked_for() {
    need_root!();
    let bundle = bundle("true", &[bind("host", "/data"), tmpfs("/data/below")]);
    let Some(never) = calls(&bundle, "never") else { return skip("this test needs strace") };
    assert!(copies(&never), "{never:?}");
    let always = calls(&bundle, "always").unwrap();
    assert_eq!(copies(&always), !has_kernel(), "{always:?}");
    if !has_kernel() {
        skip("this kernel has no OPEN_TREE_NAMESPACE (Linux 7.0)");
    }
}

/// The bundle's plan as text, for a kernel that can.
fn explained(bundle: &Bundle, flags: &[&str]) -> String {
    let args = [&["explain", "--bundle", bundle.dir.to_str().unwrap()], flags].concat();
    Done::new(bundle.command(&args).env("FERRUN_TREE_NAMESPACE", "always").output().unwrap()).ok()
}

const ALONE: &str = "as the root of a mount namespace";

#[test]
fn what_needs_the_hosts_tree_until_the_new_root_has_a_copy_of_it() {
    need_root!();
    let plan = explained(&bundle("true", &[bind("host", "/data"), tmpfs("/data/below")]), &[]);
    assert!(plan.contains(ALONE), "{plan}");
    assert!(!plan.lines().any(|line| line.contains("unshare") && line.contains("mount")), "{plan}");
    let hook = json!([{ "path": "/bin/true" }]);
    let mappings = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    let with_user = |config: &mut Value| {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
        config["linux"]["uidMappings"] = mappings.clone();
        config["linux"]["gidMappings"] = mappings.clone();
    };
    type Change<'a> = &'a dyn Fn(&mut Value);
    let mount = |config: &mut Value, mount: Value| config["mounts"].as_array_mut().unwrap().push(mount);
    let cases: [(&str, &str, Change); 12] = [
        ("prestart", "hooks/prestart/0", &|config| config["hooks"]["prestart"] = hook.clone()),
        ("createRuntime", "hooks/createRuntime/0", &|config| config["hooks"]["createRuntime"] = hook.clone()),
        ("createContainer", "hooks/createContainer/0", &|config| config["hooks"]["createContainer"] = hook.clone()),
        ("a user namespace", "linux/namespaces", &with_user),
        ("a shared root", "linux/rootfsPropagation", &|config| config["linux"]["rootfsPropagation"] = json!("rshared")),
        ("a mount on the root", "mounts/#", &|config| mount(config, bind("rootfs", "/"))),
        ("paths in options", "mounts/#", &|config| {
            mount(config, json!({ "destination": "/x", "type": "overlay", "options": ["lowerdir=/usr:/etc"] }));
        }),
        ("a device", "mounts/#", &|config| {
            mount(config, json!({ "destination": "/x", "type": "ext4", "source": "/dev/sda" }))
        }),
        ("the host's cgroups", "mounts/#", &|config| {
            config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "cgroup");
            config["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] != "cgroup");
            mount(config, json!({ "destination": "/sys/fs/cgroup", "type": "cgroup" }));
        }),
        ("the root as a source", "mounts/#", &|config| mount(config, bind("rootfs", "/x"))),
        ("a source below the root", "mounts/#", &|config| mount(config, bind("rootfs/data", "/x"))),
        ("all above the root", "mounts/#", &|config| mount(config, bind("/", "/x"))),
    ];
    for (name, property, change) in cases {
        let bundle = bundle("true", &[]).with(change);
        let last = bundle.config["mounts"].as_array().unwrap().len() - 1;
        let plan = explained(&bundle, &[]);
        let reason = format!("in a copy of the host's mounts, for /{} ", property.replace('#', &last.to_string()));
        assert!(!plan.contains(ALONE) && plan.contains(&reason), "{name}: {plan}");
    }
    for (name, source, destination) in [
        ("a bind over a bind", "host", "/data"),
        ("a bind over a new file system", "host", "/proc"),
        ("what is above the root, alone", "/", "/x"),
        ("a name that begins as the root's", "rootfs-of-another", "/x"),
    ] {
        let one = json!({ "destination": destination, "source": source, "options": ["bind"] });
        let plan = explained(&bundle("true", &[bind("host", "/data"), one]), &[]);
        assert!(plan.contains(ALONE), "{name}: {plan}");
    }
    for (kind, copies) in [("startContainer", false), ("poststart", false), ("poststop", false)] {
        let plan = explained(&bundle("true", &[]).set(&format!("/hooks/{kind}"), hook.clone()), &[]);
        assert_eq!(!plan.contains(ALONE), copies, "{kind}: {plan}");
    }
}

/// In a mount namespace that belongs to another user namespace a copy of a tree has rules of its own.
#[test]
fn a_mount_namespace_of_a_user_namespace_is_copied() {
    need_root!();
    let bundle = bundle("true", &[]);
    let args = ["explain", "--bundle", bundle.dir.to_str().unwrap()];
    let explain = bundle.command(&args);
    let mut child = Command::new("unshare");
    child.args(["--user", "--map-root-user", "--mount", "sh", "-c", "echo; exec sleep 60"]);
    let mut child = child.stdout(std::process::Stdio::piped()).spawn().unwrap();
    // It is in its namespaces once it says something.
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    let mut command = Command::new("nsenter");
    command.arg(format!("--mount=/proc/{}/ns/mnt", child.id()));
    command.arg(explain.get_program()).args(explain.get_args()).env("FERRUN_TREE_NAMESPACE", "always");
    let plan = Done::new(command.output().unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
    let plan = plan.ok();
    assert!(!plan.contains(ALONE) && plan.contains("rootfs"), "{plan}");
}

/// What a container sees of its mounts in the order in which they are listed, without numbers that differ from run to run.
fn seen(mounts: &[MountLine]) -> Vec<String> {
    let line = |mount: &MountLine| {
        let kinds: Vec<&str> = mount.propagation.iter().map(|field| field.split(':').next().unwrap()).collect();
        format!("{} {} {:?} {kinds:?}", mount.point, mount.kind, mount.options)
    };
    mounts.iter().map(line).collect()
}

#[test]
fn the_tree_is_the_same_in_both_ways() {
    need_root!();
    let mounts = [
        bind("host", "/data"),
        tmpfs("/data/below"),
        bind("host/marker", "/file"),
        bind("/etc", "/of-host"),
        tmpfs("/over"),
        // Of two on one place, the last in the list is the one that is seen.
        bind("host", "/over"),
        bind("host", "/dev/below"),
    ];
    for propagation in ["", "private", "rprivate", "slave", "rslave", "unbindable", "runbindable"] {
        let found = WAYS.map(|way| {
            let bundle = bundle("cat /proc/self/mountinfo", &mounts);
            let bundle = bundle.set("/linux/rootfsPropagation", json!(propagation));
            std::fs::create_dir_all(bundle.rootfs().join("mounted")).unwrap();
            let mounts = "mount -t tmpfs inside $bundle/rootfs/mounted; mount -t tmpfs -o ro below $bundle/host/below";
            let text = on_host(&bundle, way, &format!("{mounts}; {RUN}")).ok();
            let mounts = mount_lines(&text);
            assert_eq!(mounts[0].point, "/", "{way}: {text}");
            assert_eq!(mounted_on(&mounts, "/mounted").kind, "tmpfs", "{text}");
            let over = mounts.iter().rfind(|mount| mount.point == "/over").unwrap();
            assert!(over.root.ends_with("/host"), "{way}: {text}");
            bundle.assert_nothing_left("run");
            seen(&mounts)
        });
        assert_eq!(found[0], found[1], "{propagation}");
    }
}

/// snapd and podman keep such files on the host; attached in a younger mount namespace they would be a loop (ELOOP).
#[test]
fn files_of_mount_namespaces_are_left_out() {
    need_root!();
    let whole = |bundle: &Bundle| format!("/data{}/host", bundle.dir.display());
    for way in WAYS {
        // A directory with such a file below, the root of the host, and the file itself: what it lies on.
        for (source, script) in [
            ("host", "cat /data/marker; ls /data/kept"),
            ("/", "cat $host/marker; ls $host/kept"),
            ("host/kept/namespace", "echo -n the source; [ -f /data ] && ! [ -s /data ] && echo namespace"),
        ] {
            let script = format!("{script}; ! grep -q ' nsfs ' /proc/self/mountinfo || echo loop");
            let bundle = bundle("", &[bind(source, if source == "host/kept/namespace" { "/file" } else { "/data" })]);
            let script = script
                .replace("$host", &whole(&bundle))
                .replace("-f /data", "-f /file")
                .replace("-s /data", "-s /file");
            let bundle = bundle.set("/process/args/2", json!(script));
            let said = on_host(&bundle, way, &format!("keep $bundle/host/kept; {RUN}")).ok();
            assert_eq!(said.replace('\n', ""), "the sourcenamespace", "{way} {source}");
        }
    }
}

/// The mount namespace of the container is held by a file below its own state root.
#[test]
fn the_state_root_can_be_bound_with_a_mount_namespace_in_it() {
    need_root!();
    for way in WAYS {
        let bundle = bundle("cat /data/marker; ls /data/state", &[bind(".", "/data")]);
        std::fs::write(bundle.dir.join("marker"), "the source ").unwrap();
        let said =
            on_host(&bundle, way, &format!("keep $bundle/state; {}", RUN.replace("$bundle/state", "$bundle/other")))
                .ok();
        assert_eq!(said, "the source namespace", "{way}");
    }
}

#[test]
fn a_source_below_the_root_is_what_an_earlier_mount_shows_there() {
    need_root!();
    for way in WAYS {
        for source in ["rootfs/data", "link", "rootfs/data/below/../", "alias/rootfs/data"] {
            let mounts = [bind("host", "/data"), bind(source, "/seen")];
            let bundle = bundle("cat /seen/marker", &mounts);
            std::os::unix::fs::symlink("rootfs/data", bundle.dir.join("link")).unwrap();
            std::os::unix::fs::symlink(".", bundle.dir.join("alias")).unwrap();
            assert_eq!(on_host(&bundle, way, RUN).ok(), "the source", "{way} {source}");
            // The root may be named by a link as well.
            let bundle = bundle.set("/root/path", json!("alias/rootfs"));
            assert_eq!(on_host(&bundle, way, RUN).ok(), "the source", "{way} {source}");
        }
    }
}

#[test]
fn a_source_above_the_root_comes_with_the_earlier_mounts() {
    need_root!();
    for way in WAYS {
        let bundle = bundle("cat /seen/rootfs/data/marker", &[bind("host", "/data"), bind(".", "/seen")]);
        assert_eq!(on_host(&bundle, way, RUN).ok(), "the source", "{way}");
    }
}

#[test]
fn a_source_may_be_created_for_an_earlier_mount() {
    need_root!();
    for way in WAYS {
        let mounts = [bind("host", "/data"), tmpfs("/data/new"), bind("host/new", "/seen")];
        let bundle = bundle("grep -c ' /seen ' /proc/self/mountinfo", &mounts);
        assert_eq!(on_host(&bundle, way, RUN).ok(), "1", "{way}");
    }
}

#[test]
fn a_source_that_is_missing_is_the_same_error() {
    need_root!();
    for way in WAYS {
        let bundle = bundle("true", &[bind("nowhere", "/made")]);
        let args = ["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id];
        let done = Done::new(bundle.command(&args).env("FERRUN_TREE_NAMESPACE", way).output().unwrap());
        let count = bundle.config["mounts"].as_array().unwrap().len();
        done.fails(&format!("ENOENT /mounts/{}", count - 1));
        assert!(!bundle.rootfs().join("made").exists(), "nothing is created for a bind that fails");
        bundle.assert_nothing_left("run");
    }
}

#[test]
fn as_many_sources_as_files_may_be_open_and_more() {
    need_root!();
    for way in WAYS {
        for count in (20..64).step_by(3).chain([100]) {
            let mounts: Vec<Value> = (0..count).map(|number| bind("host", &format!("/data/{number}"))).collect();
            let bundle = bundle("ls -d /data/*/marker | wc -l", &mounts).set("/process/rlimits", json!([]));
            assert_eq!(on_host(&bundle, way, &format!("ulimit -n 64; {RUN}")).ok(), count.to_string(), "{way}");
        }
        // Mounts that are made read-only later stay open as well.
        for most in (70..130).step_by(5) {
            let place = |number| json!({ "destination": format!("/t/{number}"), "type": "tmpfs", "options": ["ro"] });
            let mounts = (0..40).map(place).chain((0..40).map(|number| bind("host", &format!("/t/{number}/x"))));
            let bundle = bundle("ls -d /t/*/x/marker | wc -l", &mounts.collect::<Vec<_>>());
            let bundle = bundle.set("/process/rlimits", json!([]));
            assert_eq!(on_host(&bundle, way, &format!("ulimit -n {most}; {RUN}")).ok(), "40", "{way} {most}");
        }
    }
}

/// From a copy of the host's mounts such a link leads to the host's own, of which no copy can be had.
#[test]
fn a_magic_link_to_a_source_is_the_same_error() {
    need_root!();
    for way in WAYS {
        for source in ["/proc/self/fd/0", "/dev/stdin"] {
            let bundle = bundle("true", &[bind(source, "/file")]);
            let last = bundle.config["mounts"].as_array().unwrap().len() - 1;
            on_host(&bundle, way, RUN).fails(&format!("EINVAL /mounts/{last}"));
        }
    }
}

/// That the root is entered alone wherever the plan says so, and that a trace tells where it could not be.
#[test]
fn a_copy_of_the_hosts_mounts_is_seen_in_a_trace() {
    need_root!();
    let copied = |bundle: &Bundle, way: &str| {
        on_host(bundle, way, &RUN.replace(" run ", " run --trace $bundle/trace ")).ok();
        std::fs::read_to_string(bundle.dir.join("trace")).unwrap().contains("mounts after all")
    };
    for count in 0..4 {
        let mounts: Vec<Value> = (0..count).map(|number| bind("host", &format!("/data/{number}"))).collect();
        assert_eq!(copied(&bundle("true", &mounts), "always"), !has_kernel(), "{count}");
    }
    // Where the plan cannot know it, since a link leads there.
    let above = bundle("true", &[bind("host", "/data"), bind("alias", "/seen")]);
    std::os::unix::fs::symlink(".", above.dir.join("alias")).unwrap();
    assert!(copied(&above, "always"));
    if has_kernel() {
        let trace = std::fs::read_to_string(above.dir.join("trace")).unwrap();
        assert!(trace.contains("/alias\\\" shows the rootfs"), "{trace}");
    }
    assert!(!copied(&above, "never"), "the plan says so");
}

/// Of options and covers of the host's mounts.
#[test]
fn what_the_host_has_locked_stays_locked_in_a_user_namespace() {
    need_root!();
    let script = "for place in / /data; do for flag in rw suid dev; do
            mount -o remount,bind,$flag $place 2>/dev/null && echo $flag of $place
        done; umount $place/below 2>/dev/null && echo cover of $place; done
        mkdir /tmp/p && mount -t proc p /tmp/p 2>/dev/null && [ -e /tmp/p/self ] && echo proc; cat /data/below/secret; true";
    for way in WAYS {
        let mounts = [bind("host", "/data"), tmpfs("/tmp")];
        let bundle = bundle(script, &mounts).with(|config| {
            config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
            for ids in ["uidMappings", "gidMappings"] {
                config["linux"][ids] = json!([{ "containerID": 0, "hostID": 0, "size": 65_536 }]);
            }
            for set in ["bounding", "effective", "permitted"] {
                config["process"]["capabilities"][set].as_array_mut().unwrap().push(json!("CAP_SYS_ADMIN"));
            }
            config["linux"]["maskedPaths"] = json!([]);
            config["linux"]["readonlyPaths"] = json!([]);
        });
        std::fs::create_dir_all(bundle.rootfs().join("below")).unwrap();
        std::fs::create_dir_all(bundle.rootfs().join("tmp")).unwrap();
        for directory in ["dev", "proc", "sys", "etc", "data"] {
            std::fs::create_dir_all(bundle.rootfs().join(directory)).unwrap();
        }
        std::fs::write(bundle.dir.join("host/below/secret"), "secret").unwrap();
        let host = "for place in $bundle/rootfs $bundle/host; do
                mount --bind $place $place; mount -t tmpfs cover $place/below
                mount -o remount,bind,ro,nosuid,nodev $place; done";
        let said = on_host(&bundle, way, &format!("{host}; {RUN}"));
        assert_eq!(said.stdout.trim(), "proc", "{way}: {said:?}");
    }
}

/// A container that may unmount its root leaves an empty directory to whoever enters its mount namespace then.
#[test]
fn nothing_of_the_host_is_below_the_root() {
    need_root!();
    for way in WAYS {
        let bundle = bundle("", &[]).with(|config| {
            for set in ["bounding", "effective", "permitted"] {
                config["process"]["capabilities"][set].as_array_mut().unwrap().push(json!("CAP_SYS_ADMIN"));
            }
            config["process"]["args"] = json!(["sh", "-c", "touch /before; umount -l /; touch /after; sleep 1000"]);
        });
        let args = ["run", "--detach", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id];
        let mut command = bundle.command(&args);
        command
            .env("FERRUN_TREE_NAMESPACE", way)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        assert!(command.status().unwrap().success());
        common::wait_until("the container has unmounted its root", || bundle.rootfs().join("after").exists());
        let namespace = std::fs::File::open(format!("/proc/{}/ns/mnt", bundle.state()["pid"])).unwrap();
        let names = std::thread::scope(|scope| {
            let look = || {
                nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).unwrap();
                nix::sched::setns(&namespace, nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
                std::fs::read_dir("/").unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>()
            };
            scope.spawn(look).join().unwrap()
        });
        // Below the root of a copy there is still what the kernel began with: an initramfs.
        if way == "always" && has_kernel() {
            assert_eq!(names, [""; 0]);
        }
        bundle.delete_force().ok();
    }
}

/// The namespace's own root is another than ferrun's, which a path of the config begins at.
#[test]
fn paths_begin_at_the_root_of_the_caller() {
    need_root!();
    let script =
        "mount --make-rprivate /; mkdir $bundle/top; mount --rbind / $bundle/top; mount --make-rslave $bundle/top
        mount -t tmpfs other $bundle/top$bundle/host; echo inside > $bundle/top$bundle/host/marker
        keep $bundle/top$bundle/host/kept
        chroot $bundle/top";
    for way in WAYS {
        let bundle = bundle("cat /data/marker", &[bind("host", "/data")]);
        let said = on_host(&bundle, way, &format!("{script} {RUN}"));
        assert_eq!(said.ok(), "inside", "{way}");
    }
}

/// Whether such a mount comes along with what is above it depends on the kernel, and not on the way.
#[test]
fn an_unbindable_mount_of_the_host_is_bound_or_not_in_both_ways() {
    need_root!();
    let host = "mount -t tmpfs below $bundle/host/below; touch $bundle/host/below/unbindable
        mount --make-unbindable $bundle/host/below
        mount -t tmpfs inside $bundle/rootfs/inside; mount --make-unbindable $bundle/rootfs/inside";
    for propagation in ["", "private", "rprivate", "slave"] {
        for (source, script) in [
            ("host", "cat /data/marker; ls /data/below"),
            ("host/below", "ls /data"),
            // In the root itself.
            ("host", "ls /inside"),
        ] {
            let said = WAYS.map(|way| {
                let bundle = bundle(script, &[bind(source, "/data")]);
                let bundle = bundle.set("/linux/rootfsPropagation", json!(propagation));
                std::fs::create_dir_all(bundle.rootfs().join("inside/covered")).unwrap();
                std::fs::write(bundle.dir.join("host/below/covered"), "").unwrap();
                let done = on_host(&bundle, way, &format!("{host}; {RUN}"));
                assert!(done.status == 0 || done.stderr.contains("bind source"), "{way} {source}: {done:?}");
                (done.status, done.stdout)
            });
            assert_eq!(said[0], said[1], "{propagation} {source} {script}");
        }
    }
}

/// Its parent is shared, which is not ferrun's to change.
#[test]
fn why_pivot_root_is_refused_in_a_chroot_is_told() {
    need_root!();
    let bundle = bundle("true", &[]);
    let script =
        "mkdir $bundle/top; mount --rbind / $bundle/top; mount --make-rprivate $bundle/top; chroot $bundle/top";
    let done = on_host(&bundle, "never", &format!("{script} {RUN}"));
    assert!(done.stderr.contains("pivot_root: invalid argument"), "{done:?}");
    assert!(done.stderr.contains("hint: pivot_root does not work on an initramfs"), "{done:?}");
}
