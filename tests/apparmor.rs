//! Containers under a profile of AppArmor, where the kernel has it (the guest of hack/vm does).

mod common;

use std::path::Path;
use std::process::Command;

use common::{Bundle, skip};
use serde_json::json;

/// Whether profiles are enforced on this host and can be loaded: not where a container's root only sees
/// the host's modules.
fn has_apparmor() -> bool {
    let enabled = std::fs::read("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
    enabled.first() == Some(&b'Y') && Path::new("/sys/kernel/security/apparmor/.replace").exists()
}

macro_rules! need_apparmor {
    () => {
        need_root!();
        if !has_apparmor() {
            return skip("this test needs AppArmor (hack/vm has it)");
        }
        if Command::new("apparmor_parser").arg("--version").output().is_err() {
            return skip("this test needs apparmor_parser (Debian's apparmor)");
        }
    };
}

/// A profile that is loaded for as long as this value lives.
struct Profile(std::path::PathBuf);

impl Profile {
    /// Everything is allowed, but for the rules given.
    fn load(bundle: &Bundle, name: &str, rules: &str) -> Profile {
        let path = bundle.dir.join("profile");
        let text = format!(
            "profile {name} flags=(attach_disconnected,mediate_deleted) {{\n  file,\n  capability,\n  mount,\n  \
             umount,\n  pivot_root,\n  signal,\n  ptrace,\n  network,\n  unix,\n{rules}\n}}\n"
        );
        std::fs::write(&path, text).unwrap();
        let profile = Profile(path);
        profile.parser("--replace");
        profile
    }

    fn parser(&self, command: &str) {
        let done = Command::new("apparmor_parser").args([command, "--skip-cache"]).arg(&self.0).output().unwrap();
        assert!(done.status.success(), "apparmor_parser {command}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.parser("--remove");
        }
    }
}

#[test]
fn the_program_is_confined_by_its_profile() {
    need_apparmor!();
    let bundle = Bundle::sh("cat /proc/self/attr/current; cat /etc/open; cat /etc/secret");
    let name = format!("ferrun-{}", bundle.id);
    let profile = Profile::load(&bundle, &name, "  deny /etc/secret r,");
    std::fs::write(bundle.rootfs().join("etc/open"), "open\n").unwrap();
    std::fs::write(bundle.rootfs().join("etc/secret"), "secret\n").unwrap();
    assert!(bundle.run().stdout.ends_with("open\nsecret\n"), "without a profile");
    let bundle = bundle.set("/process/apparmorProfile", json!(name));
    let done = bundle.run();
    assert_eq!(done.stdout, format!("{name} (enforce)\nopen\n"));
    assert!(done.stderr.contains("/etc/secret': Permission denied"), "{done:?}");
    assert_eq!(done.status, 1);
    drop(profile);
}

/// With no_new_privs a program may not change to a profile that allows more; from none it may to any.
#[test]
fn a_profile_and_no_new_privs_go_together() {
    need_apparmor!();
    let place = Bundle::sh("true");
    let name = format!("ferrun-{}", place.id);
    let _profile = Profile::load(&place, &name, "");
    for (value, wanted) in [(true, 1), (false, 0)] {
        let bundle = Bundle::sh("cat /proc/self/attr/current; grep NoNewPrivs /proc/self/status")
            .set("/process/apparmorProfile", json!(name))
            .set("/process/noNewPrivileges", json!(value));
        assert_eq!(bundle.run().ok(), format!("{name} (enforce)\nNoNewPrivs:\t{wanted}"));
    }
}

#[test]
fn a_profile_that_is_not_loaded_is_an_error() {
    need_apparmor!();
    let bundle = Bundle::sh("true").set("/process/apparmorProfile", json!("ferrun-is-not-loaded"));
    let done = bundle.run();
    done.fails("ENOENT /process/apparmorProfile");
    bundle.assert_nothing_left("a refused profile");
}

#[test]
fn unconfined_is_a_profile_like_another() {
    need_apparmor!();
    let bundle = Bundle::sh("cat /proc/self/attr/current").set("/process/apparmorProfile", json!("unconfined"));
    assert_eq!(bundle.run().ok(), "unconfined");
}

#[test]
fn a_profile_is_refused_where_nothing_would_heed_it() {
    need_root!();
    let enabled = std::fs::read("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
    if enabled.first() == Some(&b'Y') {
        return skip("this host has AppArmor");
    }
    let bundle = Bundle::sh("true").set("/process/apparmorProfile", json!("any"));
    bundle.run().fails("/process/apparmorProfile");
    bundle.assert_nothing_left("a refused profile");
}

/// Of a container in a user namespace as well, where the first process of `exec` could make no procfs of its own.
#[test]
fn a_further_process_has_the_containers_profile_or_its_own() {
    need_apparmor!();
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    for user_namespace in [false, true] {
        let bundle = Bundle::new(&["sleep", "1000"]);
        let name = format!("ferrun-{}", bundle.id);
        let profile = Profile::load(&bundle, &name, "");
        let bundle = bundle.set("/process/apparmorProfile", json!(name)).with(|config| {
            if user_namespace {
                config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
                (config["linux"]["uidMappings"], config["linux"]["gidMappings"]) = (map.clone(), map.clone());
            }
        });
        let bundle = common::exec::start(bundle);
        let current = |flags: &[&str]| {
            let done = common::exec::exec_with(&bundle, flags, &["cat", "/proc/self/attr/current"]);
            done.ok()
        };
        assert_eq!(current(&[]), format!("{name} (enforce)"), "user namespace: {user_namespace}");
        if !user_namespace {
            assert_eq!(current(&["--apparmor", "unconfined"]), "unconfined");
        }
        common::exec::end(&bundle);
        drop(profile);
    }
}
