//! `ferrun features`: the document is what the specification's schema wants, and it does not lie: what is
//! listed is accepted in a config.json, and of all the names that the specification has, what is not listed
//! is refused.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use ferrun::bundle;
use ferrun::error::Error;
use ferrun::types::mount_options::Options;
use serde_json::{Value, json};

/// The document, and that nothing is said beside it.
fn document() -> Value {
    let binary = std::env::var_os("FERRUN").unwrap_or_else(|| env!("CARGO_BIN_EXE_ferrun").into());
    let output = Command::new(binary).arg("features").output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("{\n  \"") && text.ends_with("}\n"), "indented by two: {text}");
    serde_json::from_str(&text).unwrap()
}

fn list(document: &Value, pointer: &str) -> Vec<String> {
    let list = document.pointer(pointer).and_then(Value::as_array).unwrap_or_else(|| panic!("no list {pointer}"));
    let names: Vec<String> = list.iter().map(|name| name.as_str().unwrap().to_owned()).collect();
    let once: BTreeSet<&String> = names.iter().collect();
    assert_eq!(once.len(), names.len(), "{pointer} has a name twice");
    names
}

fn pointer_of(error: &Error) -> String {
    error.pointer.as_deref().unwrap_or_default().to_owned()
}

/// The pointer at which a config with this value at a pointer is refused or warned about; none: it is accepted.
fn refusal(pointer: &str, value: Value) -> Option<String> {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("ferrun-features-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let mut config = bundle::default::config();
    let mut place = &mut config;
    for key in pointer.split('/').skip(1) {
        place = &mut place[key];
    }
    *place = value;
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
    let loaded = bundle::load(&dir);
    std::fs::remove_dir_all(&dir).unwrap();
    match loaded {
        Ok(bundle) => bundle.warnings.first().map(pointer_of),
        Err(error) => Some(pointer_of(&error)),
    }
}

#[test]
fn the_document_is_as_the_schema_wants_it() {
    let document = document();
    let objects: [(&str, &[&str]); 7] = [
        (
            "",
            &[
                "annotations",
                "hooks",
                "linux",
                "mountOptions",
                "ociVersionMax",
                "ociVersionMin",
                "potentiallyUnsafeConfigAnnotations",
            ],
        ),
        (
            "/linux",
            &[
                "apparmor",
                "capabilities",
                "cgroup",
                "intelRdt",
                "memoryPolicy",
                "mountExtensions",
                "namespaces",
                "netDevices",
                "seccomp",
                "selinux",
            ],
        ),
        ("/linux/cgroup", &["rdma", "systemd", "systemdUser", "v1", "v2"]),
        ("/linux/intelRdt", &["enabled", "monitoring", "schemata"]),
        ("/linux/memoryPolicy", &["flags", "modes"]),
        ("/linux/mountExtensions", &["idmap"]),
        ("/linux/seccomp", &["actions", "archs", "enabled", "knownFlags", "operators", "supportedFlags"]),
    ];
    for (pointer, names) in objects {
        let object = document.pointer(pointer).and_then(Value::as_object).unwrap_or_else(|| panic!("{pointer}"));
        let mut keys: Vec<&str> = object.keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, names, "{pointer}");
    }
    for pointer in [
        "/linux/apparmor/enabled",
        "/linux/selinux/enabled",
        "/linux/seccomp/enabled",
        "/linux/netDevices/enabled",
        "/linux/mountExtensions/idmap/enabled",
        "/linux/intelRdt/enabled",
        "/linux/intelRdt/schemata",
        "/linux/intelRdt/monitoring",
        "/linux/cgroup/v1",
        "/linux/cgroup/v2",
    ] {
        assert_eq!(document.pointer(pointer), Some(&json!(true)), "{pointer}");
    }
    assert_eq!((&document["ociVersionMin"], &document["ociVersionMax"]), (&json!("1.0.0"), &json!("1.3.0")));
    for version in ["ociVersionMin", "ociVersionMax"] {
        assert_eq!(refusal("/ociVersion", document[version].clone()), None, "{version}");
    }
    assert!(document["annotations"].as_object().unwrap().values().all(Value::is_string));
    assert!(!list(&document, "/potentiallyUnsafeConfigAnnotations").is_empty());
}

/// The names of the specification 1.3, and some that it does not have.
const HOOKS: &str = "prestart createRuntime createContainer startContainer poststart poststop poststopp";
const NAMESPACES: &str = "pid network mount ipc uts user cgroup time net mnt syslog";
const OPTIONS: &str = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand noatime nodev \
    nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private ratime rbind \
    rdev rdiratime relatime remount rexec rnoatime rnodev rnodiratime rnoexec rnorelatime rnostrictatime rnosuid \
    rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared \
    silent slave strictatime suid symfollow sync tmpcopyup unbindable idmap ridmap \
    acl noacl nodevv RO size=1k mode=755 newinstance";
const ACTIONS: &str = "ALLOW ERRNO KILL KILL_PROCESS KILL_THREAD LOG NOTIFY TRACE TRAP DENY";
const OPERATORS: &str = "EQ GE GT LE LT MASKED_EQ NE NQ";
const ARCHS: &str = "X86 X86_64 X32 ARM AARCH64 LOONGARCH64 M68K MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 \
    PPC PPC64 PPC64LE S390 S390X SH SHEB PARISC PARISC64 RISCV64 RISCV32 AMD64";
const FLAGS: &str = "TSYNC LOG SPEC_ALLOW WAIT_KILLABLE_RECV NEW_LISTENER";
const MODES: &str = "DEFAULT BIND INTERLEAVE WEIGHTED_INTERLEAVE PREFERRED PREFERRED_MANY LOCAL ANY";
const POLICY_FLAGS: &str = "NUMA_BALANCING RELATIVE_NODES STATIC_NODES MOVE";

/// Accepted and listed are the same, over all the names; nothing else is listed.
#[track_caller]
fn same(pointer: &str, prefix: &str, names: &str, is_accepted: impl Fn(&str) -> bool) {
    let listed = list(&document(), pointer);
    let names: Vec<String> = names.split_whitespace().map(|name| format!("{prefix}{name}")).collect();
    for name in &names {
        assert_eq!(is_accepted(name), listed.contains(name), "{pointer}: {name} is accepted; it is listed");
    }
    for name in &listed {
        assert!(names.contains(name), "{pointer}: this test does not know {name}");
    }
}

#[test]
fn hooks_that_are_listed_are_read() {
    // A kind that nobody knows is ignored, as every unknown property: only a known one can be wrong.
    same("/hooks", "", HOOKS, |name| refusal("/hooks", json!({ name: [{ "path": "relative" }] })).is_some());
}

#[test]
fn mount_options_that_are_listed_are_no_data_for_the_file_system() {
    same("/mountOptions", "", OPTIONS, |name| {
        let mut options = Options::default();
        options.add(name).unwrap();
        options.data.is_empty()
    });
}

#[test]
fn namespaces_that_are_listed_are_accepted() {
    same("/linux/namespaces", "", NAMESPACES, |name| {
        let mut list = vec![json!({ "type": name })];
        list.extend((name != "mount").then(|| json!({ "type": "mount" })));
        let refusal = refusal("/linux/namespaces", json!(list)).unwrap_or_default();
        // The default config has names and limits that need some of the others.
        refusal != "/linux/namespaces/0/type"
    });
}

#[test]
fn capabilities_that_are_listed_are_accepted() {
    let listed = list(&document(), "/linux/capabilities");
    assert_eq!((listed.len(), listed[0].as_str(), listed[40].as_str()), (41, "CAP_CHOWN", "CAP_CHECKPOINT_RESTORE"));
    assert_eq!(refusal("/process/capabilities/bounding", json!(listed)), None);
    let refusal = refusal("/process/capabilities/bounding", json!(["CAP_NEW"]));
    assert_eq!(refusal.as_deref(), Some("/process/capabilities/bounding/0"));
}

#[test]
fn seccomp_names_that_are_listed_are_accepted() {
    let profile = |property: &str, value: Value| {
        let mut profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/s" });
        profile[property] = value;
        refusal("/linux/seccomp", profile).is_none()
    };
    same("/linux/seccomp/actions", "SCMP_ACT_", ACTIONS, |name| {
        profile("defaultAction", json!(name)) && profile("syscalls", json!([{ "names": ["read"], "action": name }]))
    });
    same("/linux/seccomp/operators", "SCMP_CMP_", OPERATORS, |name| {
        let args = json!([{ "index": 0, "value": 1, "op": name }]);
        profile("syscalls", json!([{ "names": ["read"], "action": "SCMP_ACT_TRAP", "args": args }]))
    });
    same("/linux/seccomp/archs", "SCMP_ARCH_", ARCHS, |name| profile("architectures", json!([name])));
    for list in ["knownFlags", "supportedFlags"] {
        let pointer = format!("/linux/seccomp/{list}");
        same(&pointer, "SECCOMP_FILTER_FLAG_", FLAGS, |name| profile("flags", json!([name])));
    }
}

#[test]
fn memory_policies_that_are_listed_are_accepted() {
    same("/linux/memoryPolicy/modes", "MPOL_", MODES, |name| {
        let nodes = if matches!(name, "MPOL_DEFAULT" | "MPOL_LOCAL") { "" } else { "0" };
        refusal("/linux/memoryPolicy", json!({ "mode": name, "nodes": nodes })).is_none()
    });
    same("/linux/memoryPolicy/flags", "MPOL_F_", POLICY_FLAGS, |name| {
        refusal("/linux/memoryPolicy", json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": [name] })).is_none()
    });
}

#[test]
fn limits_of_rdma_are_accepted_if_they_are_promised() {
    let promised = document().pointer("/linux/cgroup/rdma") == Some(&json!(true));
    let accepted = refusal("/linux/resources/rdma", json!({ "mlx5_1": { "hcaHandles": 3 } })).is_none();
    assert_eq!(promised, accepted);
}
