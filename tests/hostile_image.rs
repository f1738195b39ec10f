//! Images and mounts that attack the host: links and false files where the runtime makes or mounts
//! something. Beside each root lies a directory of the host that must stay as it is; a bundle is either
//! refused or runs confined.

mod common;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;

use common::{Bundle, Canary, Done, while_exchanged};
use serde_json::{Value, json};

fn writable(config: &mut Value) {
    config["root"]["readonly"] = json!(false);
}

fn without_dev(config: &mut Value) {
    let mounts = config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
}

/// Puts a link in the place of what is at a path of the root.
fn replace_by_link(bundle: &Bundle, name: &str, target: impl AsRef<Path>) {
    let path = bundle.rootfs().join(name);
    let _ = std::fs::remove_dir(&path);
    let _ = std::fs::remove_file(&path);
    symlink(target, path).unwrap();
}

// CVE-2019-16884: a label or a limit written to a false /proc would not take effect.
#[test]
fn nothing_can_pass_for_proc() {
    need_root!();
    for destination in ["/proc", "/proc/self/attr", "/proc/self", "/proc/sys", "/link", "/proc/../proc"] {
        for kind in ["tmpfs", "bind"] {
            let bundle = Bundle::new(&["true"]).with(writable);
            let canary = Canary::beside(&bundle);
            symlink("proc/self", bundle.rootfs().join("link")).unwrap();
            let bundle = bundle.with(|config| {
                let options = if kind == "bind" { json!(["bind"]) } else { json!([]) };
                let mount =
                    json!({ "destination": destination, "type": kind, "source": canary.dir, "options": options });
                config["mounts"].as_array_mut().unwrap().push(mount);
            });
            let done = bundle.run();
            assert!(done.status == 1 && done.stderr.contains("/mounts/7"), "{kind} on {destination}: {done:?}");
            canary.assert_alive("a mount over /proc");
        }
    }
}

// CVE-2019-18837, CVE-2024-45310
#[test]
fn mount_points_are_never_made_outside_of_the_root() {
    need_root!();
    for target in ["ABSOLUTE", "../canary", "../../../../../..ABSOLUTE", "/../canary"] {
        for (below, made) in
            [("", ""), ("/made", ""), ("/sub", "/b/c"), ("", "/b/c"), ("/made/deep", "/b"), ("/secret", "")]
        {
            for source in ["tmpfs", "directory", "file"] {
                let bundle = Bundle::new(&["true"]).with(writable);
                let canary = Canary::beside(&bundle);
                let link = target.replace("ABSOLUTE", canary.dir.to_str().unwrap()) + below;
                symlink(&link, bundle.rootfs().join("a")).unwrap();
                let destination = format!("/a{made}");
                let mount = match source {
                    "tmpfs" => json!({ "destination": destination, "type": "tmpfs", "source": "tmpfs" }),
                    "directory" => json!({ "destination": destination, "source": "/usr", "options": ["bind"] }),
                    _ => json!({ "destination": destination, "source": "/etc/passwd", "options": ["bind"] }),
                };
                let bundle = bundle.with(|config| config["mounts"].as_array_mut().unwrap().push(mount));
                let done = bundle.run();
                assert!(matches!(done.status, 0 | 1), "{done:?}");
                canary.assert_alive(&format!("{source} on {destination}, a link to {link}"));
            }
        }
    }
}

// The same for the working directory, which is made where it is missing.
#[test]
fn the_working_directory_is_never_made_outside_of_the_root() {
    need_root!();
    for (link, cwd) in
        [("../canary", "/a/made"), ("/proc/1/root", "/a/tmp/made"), ("/proc/self/cwd", "/a"), ("..", "/a/canary/made")]
    {
        let bundle = Bundle::sh("pwd; ls /").with(writable).with(|config| config["process"]["cwd"] = json!(cwd));
        let canary = Canary::beside(&bundle);
        symlink(link, bundle.rootfs().join("a")).unwrap();
        let done = bundle.run();
        assert!(!done.stdout.contains("config.json"), "{done:?}");
        canary.assert_alive(cwd);
    }
}

// CVE-2019-19921, CVE-2023-27561, CVE-2023-28642, CVE-2025-54867
#[test]
fn a_link_does_not_pass_for_proc_or_sys() {
    need_root!();
    for name in ["proc", "sys"] {
        for target in ["evil", "/evil", "../canary", "."] {
            let bundle = Bundle::new(&["true"]).with(writable);
            let canary = Canary::beside(&bundle);
            std::fs::create_dir(bundle.rootfs().join("evil")).unwrap();
            replace_by_link(&bundle, name, target);
            bundle.run().refused("must be mounted on ordinary directory");
            canary.assert_alive(name);
        }
    }
}

// CVE-2026-41579, CVE-2026-47766
#[test]
fn a_dev_that_leads_to_the_host_gets_no_devices() {
    need_root!();
    for relative in [true, false] {
        for keep_mounts in [true, false] {
            let bundle = Bundle::new(&["true"]).with(writable);
            let bundle = if keep_mounts { bundle } else { bundle.with(without_dev) };
            let canary = Canary::beside(&bundle);
            replace_by_link(&bundle, "dev", if relative { Path::new("../canary") } else { &canary.dir });
            let done = bundle.run();
            assert!(matches!(done.status, 0 | 1), "{done:?}");
            canary.assert_alive("a link in the place of /dev");
        }
    }
}

// CVE-2025-31133, CVE-2025-62161
#[test]
fn a_false_null_device_masks_nothing() {
    need_root!();
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    for fake in ["link", "other device", "file", "link to the host"] {
        for bound in [true, false] {
            let bundle = Bundle::sh("echo ran; cat /proc/timer_list").with(writable).with(without_dev);
            let canary = Canary::beside(&bundle);
            let dev = if bound { bundle.dir.join("dev") } else { bundle.rootfs().join("dev") };
            std::fs::create_dir_all(&dev).unwrap();
            let null = dev.join("null");
            match fake {
                "link" => symlink("/proc/sys/kernel/hostname", &null).unwrap(),
                "link to the host" => symlink("../canary/null", &null).unwrap(),
                "file" => std::fs::write(&null, "").unwrap(),
                _ => {
                    let mode = nix::sys::stat::Mode::from_bits_truncate(0o666);
                    let zero = nix::sys::stat::makedev(1, 5);
                    nix::sys::stat::mknod(&null, nix::sys::stat::SFlag::S_IFCHR, mode, zero).unwrap();
                }
            }
            let bundle = bundle.with(|config| {
                config["linux"]["maskedPaths"] = json!([]);
                if bound {
                    config["linux"]["maskedPaths"] = json!(["/proc/timer_list"]);
                    let mount = json!({ "destination": "/dev", "source": dev, "options": ["bind"] });
                    config["mounts"].as_array_mut().unwrap().push(mount);
                }
            });
            // Where a stream is the null device, that is looked at once more, which would hide a failure here.
            let mut command = bundle.command(&["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
            let done = Done::new(command.stdin(Stdio::piped()).output().unwrap());
            assert!(done.status == 1 && done.stdout.is_empty(), "{fake} {bound}: {done:?}");
            assert!(done.stderr.contains("null"), "{fake} {bound}: {done:?}");
            canary.assert_alive(fake);
            // Nor does it become a stream that was led nowhere. A link that leads nowhere in the container is none.
            if bound && fake != "link to the host" {
                let bundle = bundle.set("/linux/maskedPaths", json!([]));
                let done = bundle.run();
                assert!(done.error().sentence.contains("/dev/null"), "{fake}: {done:?}");
                canary.assert_alive(fake);
            }
        }
    }
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), hostname);
}

#[test]
fn masked_and_read_only_paths_lead_nowhere_outside() {
    need_root!();
    for property in ["maskedPaths", "readonlyPaths"] {
        for path in ["/a/secret", "/b/secret", "/b", "/../canary", "/proc/self/root", "/proc/self/exe", "/proc/1/fd/3"]
        {
            let bundle = Bundle::new(&["true"]).with(writable).with(|config| config["linux"][property] = json!([path]));
            let canary = Canary::beside(&bundle);
            symlink("../canary", bundle.rootfs().join("a")).unwrap();
            symlink(&canary.dir, bundle.rootfs().join("b")).unwrap();
            let done = bundle.run();
            assert!(matches!(done.status, 0 | 1), "{property} {path}: {done:?}");
            canary.assert_alive(path);
        }
    }
}

// D-X6
#[test]
fn links_of_a_bind_are_not_followed_if_so_asked() {
    need_root!();
    let bundle = Bundle::sh("cat /data/file; cat /data/link").with(writable);
    let canary = Canary::beside(&bundle);
    std::fs::create_dir(bundle.dir.join("data")).unwrap();
    std::fs::write(bundle.dir.join("data/file"), "plain").unwrap();
    symlink("file", bundle.dir.join("data/link")).unwrap();
    let bundle = bundle.with(|config| {
        let mount = json!({ "destination": "/data", "source": "data", "options": ["bind", "nosymfollow"] });
        config["mounts"].as_array_mut().unwrap().push(mount);
    });
    let done = bundle.run();
    assert_eq!(done.stdout, "plain");
    assert!(done.stderr.contains("Too many levels of symbolic links"), "{done:?}");
    canary.assert_alive("a link");
}

#[test]
fn a_root_that_is_a_link_is_refused() {
    need_root!();
    for target in ["real", "canary", "/"] {
        let bundle = Bundle::new(&["true"]);
        let canary = Canary::beside(&bundle);
        std::fs::rename(bundle.rootfs(), bundle.dir.join("real")).unwrap();
        symlink(target, bundle.rootfs()).unwrap();
        bundle.run().fails("/root/path");
        canary.assert_alive("root.path");
    }
}

/// A file of the kernel's own, read with ferrun's rights, would tell the container of the host, and of /proc/kmsg the host
/// would lose what is read.
#[test]
fn no_file_of_the_kernel_passes_for_the_list_of_users() {
    need_root!();
    let home = |passwd: &str, mount: Option<Value>| {
        let bundle = Bundle::sh("echo $HOME").with(writable).with(|config| {
            config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
            config["process"]["env"] = json!(["PATH=/bin"]);
            config["mounts"].as_array_mut().unwrap().extend(mount);
        });
        replace_by_link(&bundle, "etc/passwd", passwd);
        let mut command = bundle.command(&["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
        // A line of a file that is in every procfs, in ferrun's own environment.
        command.env("CANARY", "\nu:x:1000:1000::/leaked:\n");
        Done::new(command.output().unwrap()).ok()
    };
    assert_eq!(home("/proc/self/environ", None), "/");
    let bound = json!({ "destination": "/p", "type": "bind", "source": "/proc", "options": ["rbind"] });
    assert_eq!(home("/p/thread-self/environ", Some(bound)), "/");
    assert_eq!(home("/proc/sys/kernel/hostname", None), "/");
    let tmpfs = json!({ "destination": "/t", "type": "tmpfs", "source": "none", "options": ["size=0"] });
    assert_eq!(home("/t/none", Some(tmpfs)), "/");
}

#[test]
fn a_list_of_users_is_read_up_to_a_mebibyte() {
    need_root!();
    for (length, wanted) in [(1024 * 1024 - 100, "/found"), (1024 * 1024, "/")] {
        let bundle = Bundle::sh("echo $HOME").set("/process/env", json!(["PATH=/bin"]));
        let text = "#\n".repeat(length / 2) + "root:x:0:0::/found:\n";
        std::fs::write(bundle.rootfs().join("etc/passwd"), text).unwrap();
        assert_eq!(bundle.run().ok(), wanted, "{length}");
    }
}

/// A directory of a volume is exchanged, again and again, with a link to /proc, on which the flags would land.
#[test]
fn a_remount_changes_the_mount_of_its_entry_while_links_in_a_volume_change() {
    need_root!();
    let bundle = Bundle::sh("grep -c '/kept /vol/[ab] rw' /proc/self/mountinfo");
    let [volume, kept] = ["volume", "kept"].map(|name| bundle.dir.join(name));
    std::fs::create_dir_all(volume.join("a")).unwrap();
    std::fs::create_dir(&kept).unwrap();
    symlink("/proc", volume.join("b")).unwrap();
    let bundle = bundle.with(|config| {
        config["mounts"].as_array_mut().unwrap().extend([
            json!({ "destination": "/vol", "source": volume, "options": ["bind"] }),
            json!({ "destination": "/vol/a", "source": kept, "options": ["bind"] }),
            json!({ "destination": "/vol/a", "options": ["remount", "bind", "ro"] }),
        ]);
    });
    let seen: Vec<String> = while_exchanged(&volume, || (0..200).map(|_| bundle.run().stdout).collect());
    assert!(seen.iter().any(|count| count == "0\n"), "none has run: {seen:?}");
    assert!(!seen.iter().any(|count| count == "1\n"), "it stayed writable");
}
