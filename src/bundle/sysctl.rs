//! `linux.sysctl`: which kernel parameters a container may have of its own.

use super::Spec;
use super::check::wrong;
use super::linux::{Namespace, NamespaceKind};
use crate::error::{Error, Result};

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

/// The JSON pointer of a parameter: RFC 6901.
pub fn pointer(name: &str) -> String {
    format!("/linux/sysctl/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// The kind of namespace that has a parameter; none: it is the whole host's.
fn namespace(file: &str) -> Option<NamespaceKind> {
    match file.split_once('/')? {
        _ if IPC.contains(&file) || file.starts_with("fs/mqueue/") => Some(NamespaceKind::Ipc),
        ("net", _) => Some(NamespaceKind::Network),
        ("user", _) => Some(NamespaceKind::User),
        ("kernel", "domainname") => Some(NamespaceKind::Uts),
        _ => None,
    }
}

/// Refuses what would change the host.
pub(super) fn check(spec: &Spec) -> Result<()> {
    let mut seen: Vec<String> = Vec::new();
    for name in spec.linux.sysctl.keys() {
        let file = file(name);
        let refuse = |message: String| -> Error { wrong(pointer(name), message) };
        if file.split('/').any(|part| matches!(part, "" | "." | "..")) || file.contains('\0') {
            return Err(refuse(format!("{name:?} is no name of a kernel parameter")));
        }
        if file == "kernel/hostname" {
            return Err(refuse("kernel.hostname has a property of its own".into()).hint("set hostname instead"));
        }
        let Some(kind) = namespace(&file) else {
            return Err(refuse(format!("{name:?} is the whole host's: it belongs to no namespace")));
        };
        // A joined namespace may be the host's.
        let own = |namespace: &&Namespace| namespace.kind == kind && namespace.path().is_none();
        if spec.linux.namespaces.iter().find(own).is_none() {
            let kind = format!("{kind:?}").to_lowercase();
            let error = refuse(format!(
                "{name:?} would be changed for the host: the container has no {kind} namespace of its own"
            ));
            return Err(error.hint(format!("add {{\"type\": \"{kind}\"}} to linux.namespaces")));
        }
        if seen.contains(&file) {
            return Err(refuse(format!("{name:?} is listed twice, in two spellings")));
        }
        seen.push(file);
    }
    Ok(())
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
