//! Kernel parameters that a container may have of its own: `linux.sysctl`.

use std::collections::BTreeSet;

use super::Spec;
use super::namespaces::LONGEST_HOST;
use super::problems::Problems;
use super::problems::wrong;
use crate::error::Error;
use crate::pointer::of_name;
use crate::types::namespaces::NamespaceKind;

/// Parameters of the ipc namespace by name; those of message queues have a directory: ipc_namespaces(7).
const IPC: &[&str] = &[
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shm_rmid_forced",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
];

/// The file of `kernel.domainname`, which has a property of its own as well.
pub const DOMAIN_NAME: &str = "kernel/domainname";

/// The file of a parameter below /proc/sys. What separates names is whichever of `.` and `/` comes first;
/// the other then stands for itself, a dot in a name: `net/ipv4/conf/eno2.100/rp_filter` is
/// `net.ipv4.conf.eno2/100.rp_filter` (sysctl.d(5)).
pub fn file(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(first) if name.as_bytes()[first] == b'.' => {
            let swap = |c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            };
            name.chars().map(swap).collect()
        }
        _ => name.to_owned(),
    }
}

/// The JSON pointer of a parameter.
pub fn pointer(name: &str) -> String {
    of_name("/linux/sysctl", name)
}

/// The kind of namespace that has a parameter, by its file; none: it is the whole host's.
pub fn namespace(file: &str) -> Option<NamespaceKind> {
    match file.split_once('/')? {
        _ if IPC.contains(&file) || file.starts_with("fs/mqueue/") => Some(NamespaceKind::Ipc),
        ("net", _) => Some(NamespaceKind::Network),
        ("user", _) => Some(NamespaceKind::User),
        _ if file == DOMAIN_NAME => Some(NamespaceKind::Uts),
        _ => None,
    }
}

/// Refuses what would change the host.
pub(super) fn check(spec: &Spec, found: &mut Problems) {
    check_domain_name(spec, found);
    let mut seen = BTreeSet::new();
    for name in spec.linux.sysctl.keys() {
        let file = file(name);
        if let Some(message) = check_one(spec, name, &file) {
            found.error(message);
        } else if !seen.insert(file) {
            found.error(wrong(pointer(name), format!("{name:?} is listed twice, in two spellings")));
        }
    }
}

/// The parameter for the domain name, as it is spelled, and the name: the file would take no more than a line.
pub fn domain_name(spec: &Spec) -> Option<(&str, &[u8])> {
    let (name, value) = spec.linux.sysctl.iter().find(|(name, _)| file(name) == DOMAIN_NAME)?;
    Some((name, value.bytes().split(|byte| *byte == b'\n').next().unwrap_or_default()))
}

/// The domain name of the uts namespace has two properties, and the kernel takes only so many bytes.
fn check_domain_name(spec: &Spec, found: &mut Problems) {
    let Some((name, value)) = domain_name(spec) else { return };
    let length = value.len();
    if length > LONGEST_HOST {
        found.error(wrong(pointer(name), format!("a name of {length} bytes, of which Linux takes {LONGEST_HOST}")));
    }
    if !spec.domainname.is_empty() && spec.domainname.bytes() != value {
        found.warning(wrong(pointer(name), "domainname has another value, which this one replaces"));
    }
}

/// What is wrong with a parameter, if anything is.
fn check_one(spec: &Spec, name: &str, file: &str) -> Option<Error> {
    let refuse = |message: String| -> Error { wrong(pointer(name), message) };
    if file.split('/').any(|part| matches!(part, "" | "." | "..")) || file.contains('\0') {
        return Some(refuse(format!("{name:?} is no name of a kernel parameter")));
    }
    if file == "kernel/hostname" {
        return Some(refuse("kernel.hostname has a property of its own".into()).hint("set hostname instead"));
    }
    let Some(kind) = namespace(file) else {
        return Some(refuse(format!("{name:?} is the whole host's: it belongs to no namespace")));
    };
    // Whether one that is joined is the host's is seen when it is opened.
    if !spec.linux.namespaces.iter().any(|namespace| namespace.kind == kind) {
        let error =
            refuse(format!("{name:?} would be changed for the host: the container has no {kind} namespace of its own"));
        return Some(error.hint(format!("add {{\"type\": \"{kind}\"}} to linux.namespaces")));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_name_the_same_file() {
        for (name, path) in [
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
            ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
            ("net.ipv4.conf.eno2/100.rp_filter", "net/ipv4/conf/eno2.100/rp_filter"),
            ("net/ipv4/conf/eno2.100/rp_filter", "net/ipv4/conf/eno2.100/rp_filter"),
            ("one", "one"),
        ] {
            assert_eq!(file(name), path);
        }
        assert_eq!(pointer("net/a~b"), "/linux/sysctl/net~1a~0b");
    }

    #[test]
    fn parameters_have_their_namespace() {
        for (file, kind) in [
            ("kernel/sem", Some(NamespaceKind::Ipc)),
            ("fs/mqueue/msg_max", Some(NamespaceKind::Ipc)),
            ("net/core/somaxconn", Some(NamespaceKind::Network)),
            ("user/max_user_namespaces", Some(NamespaceKind::User)),
            ("kernel/domainname", Some(NamespaceKind::Uts)),
            ("kernel/core_pattern", None),
            ("kernel/semx", None),
            ("fs/mqueue", None),
            ("vm/swappiness", None),
            ("net", None),
        ] {
            assert_eq!(namespace(file), kind, "{file}");
        }
    }
}
