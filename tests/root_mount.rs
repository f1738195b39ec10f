//! A mount on `/` takes the root's place: what the program sees, and what is created, hidden and read-only, is in it.

mod common;

use common::{Bundle, Done, mount_lines};
use serde_json::{Value, json};

fn bind(source: &str, destination: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "source": source, "options": options })
}

/// A bundle with a second root, `other`, in which `/which` says so, and with these mounts before and after the default ones.
fn bundle(script: &str, before: &[Value], after: &[Value]) -> Bundle {
    let bundle = Bundle::sh(script).set("/root/readonly", json!(false));
    let other = bundle.dir.join("other");
    let copied = std::process::Command::new("cp").arg("-a").arg(bundle.rootfs()).arg(&other).status().unwrap();
    assert!(copied.success());
    std::fs::write(other.join("which"), "other\n").unwrap();
    std::fs::write(other.join("etc/secret"), "told\n").unwrap();
    std::fs::create_dir(bundle.dir.join("host")).unwrap();
    std::fs::write(bundle.dir.join("host/file"), "of the host\n").unwrap();
    bundle.with(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.splice(0..0, before.iter().cloned());
        mounts.extend_from_slice(after);
    })
}

fn user_namespace(bundle: Bundle) -> Bundle {
    let range = json!([{ "containerID": 0, "hostID": 0, "size": 65_536 }]);
    bundle.with(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
        config["linux"]["uidMappings"] = range.clone();
        config["linux"]["gidMappings"] = range;
    })
}

/// What the first mount shows of itself, of what is mounted in it, of a masked and a read-only path, and of itself again.
const LOOK: &str = "cat /which /etc/secret /data/file; echo x > /etc/x; echo x > /proc/sys/kernel/domainname; touch /new && \
    echo created; ls -A /; readlink /dev/stdout; echo > /dev/null; pwd; cat /../which";

const SEEN: &str = "other\nof the host\ncreated\nbin\ndata\ndev\netc\nnew\nproc\nroot\nsys\ntmp\nw\nwhich\n\
    /proc/self/fd/1\n/w\nother";

fn look(options: &[&str]) -> Bundle {
    bundle(LOOK, &[bind("other", "/", options)], &[bind("host", "/data", &["bind"])]).with(|config| {
        config["process"]["cwd"] = json!("/w");
        config["linux"]["maskedPaths"].as_array_mut().unwrap().push(json!("/etc/secret"));
        config["linux"]["readonlyPaths"].as_array_mut().unwrap().push(json!("/etc"));
    })
}

#[track_caller]
fn assert_seen(bundle: &Bundle, done: &Done, case: &str) {
    assert_eq!(done.stdout.trim_end(), SEEN, "{case}: {done:?}");
    assert_eq!(done.stderr.matches("Read-only file system").count(), 2, "{case}: {done:?}");
    bundle.assert_nothing_left(case);
    let of_root = |name: &str| bundle.rootfs().join(name).exists();
    assert!(!of_root("data") && !of_root("new") && !of_root("w"), "{case}: the root below stays as it is");
}

#[test]
fn a_bind_on_the_root_is_the_root() {
    need_root!();
    for options in [&["bind"][..], &["rbind"], &["rbind", "rprivate"], &["rbind", "rslave"], &["rbind", "rshared"]] {
        for flags in [&[][..], &["--no-pivot"]] {
            let bundle = look(options);
            assert_seen(&bundle, &bundle.run_with(flags), &format!("{options:?} {flags:?}"));
        }
        let bundle = user_namespace(look(options));
        assert_seen(&bundle, &bundle.run(), &format!("{options:?} in a user namespace"));
    }
    for propagation in ["rshared", "shared", "rslave", "slave", "rprivate", "private", "runbindable"] {
        let bundle = look(&["rbind", "rshared"]).set("/linux/rootfsPropagation", json!(propagation));
        assert_seen(&bundle, &bundle.run(), propagation);
    }
}

#[test]
fn a_bind_on_the_root_is_the_root_without_a_mount_namespace() {
    need_root!();
    if !common::mounts_nowhere() {
        return common::skip("mounts without a mount namespace need Linux 6.15");
    }
    for read_only in [false, true] {
        let script = "cat /which /data/file; touch /new && echo created; ls /proc/self/exe";
        let bundle = bundle(script, &[bind("other", "/", &["rbind"])], &[bind("host", "/data", &["bind"])]);
        let bundle = bundle.with(|config| {
            config["root"]["readonly"] = json!(read_only);
            config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "mount");
        });
        let created = if read_only { "" } else { "created\n" };
        assert_eq!(bundle.run().stdout, format!("other\nof the host\n{created}/proc/self/exe\n"));
        bundle.assert_nothing_left("run");
    }
}

#[test]
fn a_read_only_root_gets_its_mount_points_first() {
    need_root!();
    let script = "cat /which /data/file; pwd; touch /x";
    for (options, read_only) in [(&["rbind", "ro"][..], false), (&["bind"], true)] {
        let bundle = bundle(script, &[bind("other", "/", options)], &[bind("host", "/data", &["bind"])]);
        let bundle = bundle.set("/root/readonly", json!(read_only)).set("/process/cwd", json!("/w"));
        let done = bundle.run();
        assert_eq!(done.stdout, "other\nof the host\n/w\n", "{done:?}");
        assert!(done.stderr.contains("touch: /x: Read-only file system"), "{done:?}");
    }
}

#[test]
fn mounts_on_the_root_count_in_their_order() {
    need_root!();
    let tmpfs = json!({ "destination": "/hidden", "type": "tmpfs", "source": "tmpfs", "options": ["ro"] });
    let after = [tmpfs, bind("host", "/", &["bind"]), bind("other", "/a/..", &["bind"])];
    let bundle = bundle("cat /which; ls -A /proc /sys; ls -d /hidden", &[], &after);
    let done = bundle.run();
    assert_eq!(done.stdout, "other\n/proc:\n\n/sys:\n", "{done:?}");
    assert!(done.stderr.contains("/hidden: No such file or directory"), "{done:?}");
    assert_eq!(std::fs::read_dir(bundle.dir.join("host")).unwrap().count(), 1, "nothing is created in between");
    bundle.assert_nothing_left("run");
}

/// An overlay on an empty root.
#[test]
fn a_file_system_on_the_root_is_the_root() {
    need_root!();
    let data =
        |bundle: &Bundle| format!("lowerdir={0}/other,upperdir={0}/up/upper,workdir={0}/up/work", bundle.dir.display());
    let bundle = bundle("cat /which && touch /new", &[], &[]);
    let overlay = json!({ "destination": "/", "type": "overlay", "source": "overlay", "options": [data(&bundle)] });
    let options: Vec<String> = data(&bundle).split(',').map(str::to_owned).collect();
    let bundle = bundle.with(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.insert(0, overlay);
        mounts[0]["options"] = json!(options);
        config["root"]["path"] = json!("empty");
    });
    std::fs::create_dir(bundle.dir.join("empty")).unwrap();
    let prepare = "mkdir $bundle/up && mount -t tmpfs up $bundle/up && mkdir $bundle/up/upper $bundle/up/work";
    assert_eq!(bundle.run_after(prepare).ok(), "other");
    assert_eq!(std::fs::read_dir(bundle.dir.join("empty")).unwrap().count(), 0);
}

#[test]
fn nothing_that_is_mounted_in_the_new_root_reaches_the_host() {
    need_root!();
    // A host whose mounts are all shared, and the source is a mount of its own.
    let script =
        "set -e; mount --make-rshared /; mount --bind $bundle/other $bundle/other; cat /proc/self/mountinfo; echo --
        $ferrun --root $bundle/state create --bundle $bundle c >/dev/null; cat /proc/self/mountinfo; echo --
        $ferrun --root $bundle/state delete --force c; cat /proc/self/mountinfo";
    for propagation in ["", "rshared", "shared", "rslave", "slave", "private"] {
        for option in ["rshared", "rslave", "rprivate"] {
            let bundle = look(&["rbind", option]).set("/linux/rootfsPropagation", json!(propagation));
            let mut command = std::process::Command::new("unshare");
            command.args(["--mount", "sh", "-c", script]).env("bundle", &bundle.dir);
            let said = Done::new(command.env("ferrun", common::ferrun_binary()).output().unwrap()).ok();
            let tables: Vec<&str> = said.split("--\n").map(str::trim_end).collect();
            assert_eq!(tables.len(), 3, "{said}");
            assert_eq!(tables[1], tables[0], "while a container is there: {propagation} {option}");
            assert_eq!(tables[2], tables[0], "after it: {propagation} {option}");
            assert!(bundle.dir.join("other/data").exists(), "it was made: {propagation} {option}");
        }
    }
}

#[test]
fn only_the_new_root_is_left_of_the_old_one() {
    need_root!();
    let bundle = bundle("cat /proc/self/mountinfo", &[bind("other", "/", &["bind"])], &[]);
    let text = bundle.run().ok();
    let mounts = mount_lines(&text);
    let roots: Vec<_> = mounts.iter().filter(|mount| mount.point == "/").collect();
    assert_eq!(roots.len(), 1, "{text}");
    assert!(!text.contains("/rootfs "), "{text}");
}

#[test]
fn what_cannot_be_a_root_is_refused() {
    need_root!();
    let file = bundle("true", &[bind("host/file", "/", &["bind"])], &[]);
    file.run().fails("ENOTDIR /mounts/0");
    file.assert_nothing_left("run");
    let joined = bundle("true", &[bind("other", "/", &["bind"])], &[]).with(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.iter_mut().find(|one| one["type"] == "mount").unwrap()["path"] = json!("/proc/2/ns/mnt");
    });
    joined.run().fails("/mounts/0/destination");
}

#[test]
fn a_mount_on_the_root_has_its_propagation_at_the_end() {
    need_root!();
    let is_shared = |options: &[&str]| {
        let bundle = bundle("cat /proc/self/mountinfo", &[bind("other", "/", options)], &[]);
        let mounts = mount_lines(&bundle.run().ok());
        let shared = |point: &str| {
            let mount = mounts.iter().find(|mount| mount.point == point).unwrap();
            mount.propagation.iter().any(|word| word.starts_with("shared:"))
        };
        (shared("/"), shared("/proc"))
    };
    assert_eq!(is_shared(&["bind"]), (false, false));
    assert_eq!(is_shared(&["rbind", "rshared"]), (true, false));
    assert_eq!(is_shared(&["rbind", "rshared", "rprivate"]), (false, false));
}
