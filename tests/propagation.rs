//! `linux.rootfsPropagation`: what the container's root becomes, what arrives from the host, and that
//! nothing goes there. Each test is in a mount namespace of its own whose mounts are all shared, as those of
//! a host with systemd are.

mod common;

use common::{Bundle, Done, MountLine, mount_lines, mounted_on};
use serde_json::{Value, json};

const VALUES: [&str; 9] =
    ["", "private", "rprivate", "rshared", "rslave", "runbindable", "shared", "slave", "unbindable"];

/// What the root is in the end.
fn wanted_root(value: &str) -> &'static str {
    match value.trim_start_matches('r') {
        "shared" => "shared",
        "" | "slave" => "master",
        "unbindable" => "unbindable",
        _ => "",
    }
}

fn bundle(script: &str, value: &str) -> Bundle {
    let bundle = Bundle::sh(script).with(|config| {
        config["linux"]["rootfsPropagation"] = json!(value);
        config["root"]["readonly"] = json!(false);
    });
    std::fs::create_dir_all(bundle.dir.join("host/late")).unwrap();
    bundle
}

/// Runs a script on a host of its own, all shared; the bundle is a mount of it.
fn on_shared_host(bundle: &Bundle, script: &str) -> Done {
    let script = format!("set -e; mount --bind $bundle $bundle; mount --make-rshared /\n{script}");
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "sh", "-c", script.as_str()]).stdin(std::process::Stdio::null());
    command.env("bundle", &bundle.dir).env("ferrun", common::ferrun_binary());
    Done::new(command.output().unwrap())
}

fn kind(mount: &MountLine) -> String {
    let words = mount.propagation.iter().map(|field| field.split(':').next().unwrap());
    words.filter(|word| *word != "propagate_from").collect::<Vec<_>>().join(" ")
}

const RUN: &str = "$ferrun --root $bundle/state run --bundle $bundle c";

#[test]
fn the_root_becomes_what_the_value_says() {
    need_root!();
    for value in VALUES {
        let bundle = bundle("cat /proc/self/mountinfo", value);
        let mounts = mount_lines(&on_shared_host(&bundle, RUN).ok());
        assert_eq!(kind(mounted_on(&mounts, "/")), wanted_root(value), "{value}");
        // Those with an r reach what is mounted in the container.
        let below = match value {
            "rshared" | "runbindable" => wanted_root(value),
            _ => "",
        };
        for path in ["/proc", "/dev", "/dev/shm", "/proc/sys"] {
            assert_eq!(kind(mounted_on(&mounts, path)), below, "{path} with {value}");
        }
    }
}

#[test]
fn the_root_belongs_to_no_peer_group_of_the_host() {
    need_root!();
    for value in ["shared", "rshared"] {
        let bundle = bundle("cat /proc/self/mountinfo", value);
        let said = on_shared_host(&bundle, &format!("cat /proc/self/mountinfo; echo --; {RUN}")).ok();
        let (host, container) = said.split_once("--\n").unwrap();
        let (host, container) = (mount_lines(host), mount_lines(container));
        let groups: Vec<&String> = host.iter().flat_map(|mount| &mount.propagation).collect();
        let root = mounted_on(&container, "/");
        assert!(!groups.contains(&&root.propagation[0]), "{root:?}");
    }
}

/// Whether a mount that is made on the host while the container runs, inside its root and inside a bind,
/// arrives.
#[test]
fn mounts_of_the_host_arrive_in_a_slave_alone() {
    need_root!();
    let wait = "i=0; while [ ! -e /go ] && [ $i -lt 3000 ]; do sleep 0.01; i=$((i+1)); done
                ls /late /data/late /slave/late | sort | tr '\\n' ' '";
    let script = "mkdir $bundle/rootfs/late
        $ferrun --root $bundle/state run --bundle $bundle --pid-file $bundle/pid c &
        i=0; while [ ! -e $bundle/pid ] && [ $i -lt 3000 ]; do sleep 0.01; i=$((i+1)); done
        mount -t tmpfs late $bundle/rootfs/late; touch $bundle/rootfs/late/in-root
        mount -t tmpfs late $bundle/host/late; touch $bundle/host/late/in-bind; touch $bundle/rootfs/go; wait $!";
    for (value, root, binds) in [
        ("", true, 2),
        ("private", false, 2),
        ("rprivate", false, 0),
        ("slave", true, 2),
        ("rslave", true, 2),
        ("shared", false, 2),
        ("rshared", false, 2),
        ("unbindable", false, 2),
    ] {
        let bundle = bundle(wait, value).with(|config| {
            let list = config["mounts"].as_array_mut().unwrap();
            list.push(json!({ "destination": "/data", "source": "host", "options": ["rbind"] }));
            list.push(json!({ "destination": "/slave", "source": "host", "options": ["rbind", "rslave"] }));
        });
        let said = on_shared_host(&bundle, script).ok();
        assert_eq!(said.contains("in-root"), root, "{value}: {said}");
        assert_eq!(said.matches("in-bind").count(), binds, "{value}: {said}");
    }
}

fn with_user_namespace(config: &mut Value) {
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
    for ids in ["uidMappings", "gidMappings"] {
        config["linux"][ids] = json!([{ "containerID": 0, "hostID": 0, "size": 1000 }]);
    }
}

fn joins(config: &mut Value) {
    let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|one| one["type"] != "mount");
    namespaces.push(json!({ "type": "mount", "path": "NAMESPACE" }));
    // The joined namespace shows all of proc.
    for key in ["maskedPaths", "readonlyPaths"] {
        config["linux"].as_object_mut().unwrap().remove(key);
    }
}

/// Without a value the root is a slave in every kind of tree that it is mounted in; what is named holds there as well.
#[test]
fn a_root_of_no_named_propagation_is_a_slave_everywhere() {
    need_root!();
    let wait = "cat /proc/self/mountinfo; i=0; while [ ! -e /go ] && [ $i -lt 3000 ]; do sleep 0.01; i=$((i+1)); done
                echo -- $(ls /late /below/late)";
    let script = "mkdir $bundle/rootfs/late $bundle/rootfs/below; mount -t tmpfs below $bundle/rootfs/below
        mkdir $bundle/rootfs/below/late; unshare --mount --propagation unchanged sleep 60 & other=$!
        ns=/proc/$other/ns/mnt; own=$(readlink /proc/self/ns/mnt); i=0
        until theirs=$(readlink $ns) && [ \"$theirs\" != \"$own\" ]; do
            sleep 0.01; i=$((i+1)); [ $i -lt 3000 ] || { echo no namespace of its own >&2; exit 1; }
        done
        sed -i s@NAMESPACE@$ns@ $bundle/config.json
        $ferrun --root $bundle/state run FLAG --bundle $bundle --pid-file $bundle/pid c & run=$!
        i=0; while [ ! -e $bundle/pid ] && [ $i -lt 3000 ]; do sleep 0.01; i=$((i+1)); done
        mount -t tmpfs late $bundle/rootfs/late; touch $bundle/rootfs/late/in-root
        mount -t tmpfs late $bundle/rootfs/below/late; touch $bundle/rootfs/below/late/in-mount
        touch $bundle/rootfs/go; wait $run; kill $other";
    type Change = fn(&mut Value);
    let kinds: [(&str, &str, Change); 4] = [
        ("plain", "", |_| {}),
        ("moved", "--no-pivot", |_| {}),
        ("user", "", with_user_namespace),
        ("joined", "", joins),
    ];
    for (name, flag, change) in kinds {
        for (value, arrives) in [("", true), ("rprivate", false)] {
            if flag == "--no-pivot" && !arrives {
                continue;
            }
            let bundle = bundle(wait, value);
            let bundle = bundle.with(change);
            let said = on_shared_host(&bundle, &script.replace("FLAG", flag)).ok();
            let (table, late) = said.split_once("-- ").unwrap();
            let wanted = if arrives { "/below/late: in-mount /late: in-root" } else { "/below/late: /late:" };
            assert_eq!(late, wanted, "{name} {value}");
            let mounts = mount_lines(table);
            for path in ["/", "/below"] {
                assert_eq!(kind(mounted_on(&mounts, path)), if arrives { "master" } else { "" }, "{name} {path}");
            }
        }
    }
}

/// Nothing that ferrun mounts shows on a host whose mounts are all shared, also not below a root that has
/// shared mounts itself, and nothing of the host is unmounted.
#[test]
fn no_mount_reaches_the_host() {
    need_root!();
    let script = "mount -t tmpfs inside $bundle/rootfs/tmp; mkdir $bundle/rootfs/tmp/below
        cat /proc/self/mountinfo; echo --
        $ferrun --root $bundle/state create FLAG --bundle $bundle c >/dev/null
        cat /proc/self/mountinfo; echo --
        $ferrun --root $bundle/state delete --force c; cat /proc/self/mountinfo";
    for value in VALUES {
        for flag in ["", "--no-pivot"] {
            if flag == "--no-pivot" && value.ends_with("private") {
                continue;
            }
            let bundle = bundle("true", value).with(|config| {
                let list = config["mounts"].as_array_mut().unwrap();
                list.push(json!({ "destination": "/tmp/below", "type": "tmpfs", "source": "x" }));
                list.push(json!({ "destination": "/data", "source": "host", "options": ["rbind"] }));
                list.push(json!({ "destination": "/data/late", "type": "tmpfs", "source": "x" }));
                list.push(json!({ "destination": "/peer", "source": "host", "options": ["rbind", "rshared"] }));
            });
            let said = on_shared_host(&bundle, &script.replace("FLAG", flag)).ok();
            let tables: Vec<&str> = said.split("--\n").map(str::trim_end).collect();
            assert_eq!(tables[1], tables[0], "while a container is there, {value} {flag}");
            assert_eq!(tables[2], tables[0], "after it, {value} {flag}");
        }
    }
}

/// What rshared is asked for: a mount that the container makes in a bind of its own wish shows on the host.
#[test]
fn mounts_of_the_container_reach_the_host_through_a_shared_bind_alone() {
    need_root!();
    for value in ["shared", "rshared", ""] {
        let container =
            "for dir in /peer/late /data/late /data/below/late /tmp; do mount -t tmpfs out $dir || exit; done";
        let bundle = bundle(container, value).with(|config| {
            let list = config["mounts"].as_array_mut().unwrap();
            list.push(json!({ "destination": "/data", "source": "host", "options": ["rbind"] }));
            list.push(json!({ "destination": "/peer", "source": "peer", "options": ["rbind", "rshared"] }));
            for set in ["bounding", "effective", "permitted"] {
                config["process"]["capabilities"][set].as_array_mut().unwrap().push(json!("CAP_SYS_ADMIN"));
            }
        });
        std::fs::create_dir_all(bundle.dir.join("peer/late")).unwrap();
        let script =
            format!("mount -t tmpfs peer $bundle/peer; mkdir $bundle/peer/late; mkdir $bundle/host/below
                mount -t tmpfs below $bundle/host/below; mkdir $bundle/host/below/late; {RUN}; cat /proc/self/mountinfo");
        let mounts = mount_lines(&on_shared_host(&bundle, &script).ok());
        let out: Vec<&str> =
            mounts.iter().filter(|mount| mount.source == "out").map(|mount| mount.point.as_str()).collect();
        let peer = format!("{}/peer/late", bundle.dir.display());
        let wanted = if value.is_empty() { vec![] } else { vec![peer.as_str()] };
        assert_eq!(out, wanted, "{value}");
    }
}

/// Without a cgroup namespace the container's cgroups are binds of the host's.
#[test]
fn nothing_is_mounted_on_a_cgroup_of_the_host() {
    need_root!();
    for value in ["", "shared", "rshared"] {
        let script = "for dir in /sys/fs/cgroup/[cdmp]*/ /sys/fs/cgroup; do [ ! -d $dir ] || mount -t tmpfs out $dir || \
                      exit; done; echo mounted";
        let bundle = bundle(script, value).with(|config| {
            config["linux"]["namespaces"].as_array_mut().unwrap().retain(|one| one["type"] != "cgroup");
            for set in ["bounding", "effective", "permitted"] {
                config["process"]["capabilities"][set].as_array_mut().unwrap().push(json!("CAP_SYS_ADMIN"));
            }
        });
        let said = on_shared_host(&bundle, &format!("{RUN}; cat /proc/self/mountinfo")).ok();
        let (first, table) = said.split_once('\n').unwrap();
        assert_eq!(first, "mounted", "{value}");
        assert!(!table.contains(" out "), "{value}: {table}");
    }
}

/// Where devices cannot be made, those of the host are bound, whose mount has peers there.
#[test]
fn nothing_is_mounted_on_a_device_of_the_host() {
    need_root!();
    for value in ["", "shared", "rshared"] {
        let bundle = bundle("mount --bind /dev/null /dev/full && echo mounted", value).with(|config| {
            for set in ["bounding", "effective", "permitted"] {
                config["process"]["capabilities"][set].as_array_mut().unwrap().push(json!("CAP_SYS_ADMIN"));
            }
        });
        let look = "cat /proc/self/mountinfo";
        let run = format!("echo --; setpriv --bounding-set -mknod {RUN}; echo --");
        let said = on_shared_host(&bundle, &format!("{look}; {run}; {look}")).ok();
        let parts: Vec<&str> = said.split("--\n").map(str::trim_end).collect();
        assert_eq!(parts[1], "mounted", "{value}");
        assert_eq!(parts[2], parts[0], "{value}");
    }
}

#[test]
fn a_private_root_is_not_only_moved() {
    need_root!();
    for value in ["private", "rprivate"] {
        let bundle = bundle("true", value);
        let done = bundle.run_with(&["--no-pivot"]);
        done.fails("/linux/rootfsPropagation");
        bundle.assert_nothing_left("run");
    }
}
