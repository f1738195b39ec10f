//! Checks of the namespaces and of what belongs to them.

use std::collections::BTreeSet;

use super::Spec;
use super::problems::Problems;
use super::problems::wrong;
use super::process::User;
use crate::pointer::Pointer;
use crate::types::ids::{MOST_RANGES, Mappings};
use crate::types::namespaces::NamespaceKind;
use crate::types::net_devices::{LONGEST_NAME, pointer};

/// Longest name of a host or domain: `__NEW_UTS_LEN` of linux/utsname.h.
pub(super) const LONGEST_HOST: usize = 64;

/// Checks `linux.namespaces`, the mappings, clocks and links that need them, and the names inside.
pub(super) fn check(spec: &Spec, found: &mut Problems) {
    check_list(spec, found);
    check_user_namespace(spec, found);
    check_time_offsets(spec, found);
    check_net_devices(spec, found);
}

/// Whether there is one of this kind, and whether it is joined.
fn find(spec: &Spec, kind: NamespaceKind) -> Option<(usize, bool)> {
    let list = &spec.linux.namespaces;
    let index = list.iter().position(|namespace| namespace.kind == kind)?;
    Some((index, list[index].path().is_some()))
}

fn check_list(spec: &Spec, found: &mut Problems) {
    let list = &spec.linux.namespaces;
    for (index, namespace) in list.iter().enumerate() {
        if list[..index].iter().any(|earlier| earlier.kind == namespace.kind) {
            let message = format!("the {} namespace is listed twice", namespace.kind);
            found.error(wrong(Pointer::at("/linux/namespaces/#", index), message));
        }
        if let Some(path) = namespace.path().filter(|path| path.to_bytes()[0] != b'/') {
            let message = format!("namespace path {path:?} is not absolute");
            found.error(wrong(Pointer::at("/linux/namespaces/#/path", index), message));
        }
    }
    match find(spec, NamespaceKind::Mount) {
        Some((index, true)) if matches!(find(spec, NamespaceKind::User), Some((_, false))) => {
            let message = "the root of a new user namespace has no rights in a mount namespace that is there already";
            found.error(
                wrong(Pointer::at("/linux/namespaces/#/path", index), message)
                    .hint("join the user namespace, too, to which the mount namespace belongs"),
            );
        }
        Some(_) => {}
        None => check_inherited_mounts(spec, found),
    }
    for (pointer, name) in [("/hostname", &spec.hostname), ("/domainname", &spec.domainname)] {
        let what = &pointer[1..];
        if name.to_bytes().len() > LONGEST_HOST {
            let message = format!("{what} of {} bytes, of which Linux takes {LONGEST_HOST}", name.to_bytes().len());
            found.error(wrong(pointer, message));
        }
    }
    if !spec.hostname.is_empty() && find(spec, NamespaceKind::Uts).is_none() {
        found.error(wrong("/hostname", "unable to set hostname without a private UTS namespace"));
    }
    if !spec.domainname.is_empty() && find(spec, NamespaceKind::Uts).is_none() {
        found.error(wrong("/domainname", "unable to set domainname without a private UTS namespace"));
    }
}

/// The container has the mount namespace of the host, where its own mounts must not appear.
fn check_inherited_mounts(spec: &Spec, found: &mut Problems) {
    const HINT: &str = "add {\"type\": \"mount\"} to linux.namespaces";
    if let Some((index, _)) = find(spec, NamespaceKind::User) {
        let message = "a user namespace has no rights in the host's mount namespace";
        found.error(wrong(Pointer::at("/linux/namespaces/#", index), message).hint(HINT));
    }
    if spec.linux.rootfs_propagation.is_some_and(|value| value.is_shared() || value.is_slave()) {
        let message = "a root in no mount namespace of the container's own has nobody to share mounts with";
        found.error(wrong("/linux/rootfsPropagation", message).hint(HINT));
    }
    for (index, mount) in spec.mounts.iter().enumerate() {
        let at = Pointer::at("/mounts/#/options", index);
        if mount.options.remount {
            let message = "remount needs a mount namespace: the kernel changes no mount that is mounted nowhere";
            found.error(wrong(at, message).hint(HINT));
        }
        let spreads = |kind: u64| kind & (libc::MS_SHARED | libc::MS_SLAVE) != 0;
        if mount.options.propagation.iter().any(|(kind, _)| spreads(*kind)) {
            let message = "without a mount namespace, no mount of the host's reaches the container later";
            found.warning(wrong(at, message).hint(HINT));
        }
    }
}

fn check_user_namespace(spec: &Spec, found: &mut Problems) {
    let lists = [
        ("/linux/uidMappings", "/linux/uidMappings/#", &spec.linux.uid_mappings),
        ("/linux/gidMappings", "/linux/gidMappings/#", &spec.linux.gid_mappings),
    ];
    let Some((_, joined)) = find(spec, NamespaceKind::User) else {
        for (pointer, ..) in lists.iter().filter(|(.., list)| !list.is_empty()) {
            found.warning(wrong(pointer, "mappings without a user namespace change nothing"));
        }
        return;
    };
    for (pointer, element, list) in lists {
        if list.is_empty() && !joined {
            let message = "a new user namespace needs both uidMappings and gidMappings";
            found.error(wrong("/linux/namespaces", message).hint(format!("add {}", &pointer[1..].replace('/', "."))));
        }
        check_ranges(list, |index| Pointer::at(element, index), found);
        if !list.is_empty() && list.on_host(0).is_none() {
            let message = "id 0 of the container is not mapped: its root sets the container up";
            found.error(wrong(pointer, message));
        }
    }
    if let Some(process) = &spec.process {
        check_ids(&process.user, &spec.linux.uid_mappings, &spec.linux.gid_mappings, found);
    }
    check_terminals(spec, found);
}

/// Checks the ranges of a list, whose places `at` knows.
pub(super) fn check_ranges(list: &Mappings, at: impl Fn(usize) -> Pointer, found: &mut Problems) {
    for (index, range) in list.0.iter().enumerate() {
        let pointer = at(index);
        if range.size == 0 {
            found.error(wrong(pointer, "a mapping of no ids: size is 0"));
        }
        // The last id of all, -1, is none.
        let end = |first: u32, size: u32| u64::from(first) + u64::from(size);
        if end(range.inside, range.size).max(end(range.outside, range.size)) > u64::from(u32::MAX) {
            found.error(wrong(pointer, "a mapping beyond the last id, 4294967294"));
        }
        let meets = |a, b, b_size| u64::from(a) < end(b, b_size) && u64::from(b) < end(a, range.size);
        // With more than these the list is an error anyway.
        let earlier = list.0[..index.min(MOST_RANGES)].iter().position(|other| {
            meets(range.inside, other.inside, other.size) || meets(range.outside, other.outside, other.size)
        });
        if let Some(earlier) = earlier {
            found.error(wrong(pointer, format!("the mapping overlaps with mapping {earlier}")));
        }
    }
}

/// Every id of the process must mean something outside. A joined namespace's mappings need not be given.
fn check_ids(user: &User, uids: &Mappings, gids: &Mappings, found: &mut Problems) {
    let groups = user.additional_gids.iter().enumerate();
    let groups = groups.map(|(index, gid)| (Pointer::at("/process/user/additionalGids/#", index), *gid, gids));
    let ids =
        [(Pointer::new("/process/user/uid"), user.uid, uids), (Pointer::new("/process/user/gid"), user.gid, gids)];
    for (pointer, id, list) in ids.into_iter().chain(groups) {
        if !list.is_empty() && list.on_host(id).is_none() {
            found.error(wrong(pointer, format!("id {id} of the container is not mapped in its user namespace")));
        }
    }
}

/// The group of the terminals, which default configs set to 5.
fn check_terminals(spec: &Spec, found: &mut Problems) {
    for (index, mount) in spec.mounts.iter().enumerate().filter(|(_, mount)| mount.kind() == Some(c"devpts")) {
        for data in &mount.options.data {
            let id = data.value.as_ref().and_then(|value| value.to_str().ok()?.parse().ok());
            let list = match data.key.to_bytes() {
                b"gid" => &spec.linux.gid_mappings,
                b"uid" => &spec.linux.uid_mappings,
                _ => continue,
            };
            if let Some(id) = id.filter(|id| !list.is_empty() && list.on_host(*id).is_none()) {
                let key = data.key.to_string_lossy();
                let message = format!("{key}={id} of the terminals is not mapped in the container's user namespace");
                found.error(
                    wrong(Pointer::at("/mounts/#/options", index), message).hint("take the option away, or map the id"),
                );
            }
        }
    }
}

fn check_time_offsets(spec: &Spec, found: &mut Problems) {
    let offsets = &spec.linux.time_offsets;
    let clocks =
        [("/linux/timeOffsets/monotonic", offsets.monotonic), ("/linux/timeOffsets/boottime", offsets.boottime)];
    for (pointer, offset) in clocks {
        let Some(offset) = offset else { continue };
        match find(spec, NamespaceKind::Time) {
            Some((_, false)) => {}
            Some((_, true)) => found.error(wrong(pointer, "the clocks of a time namespace that is joined are set")),
            None => found.error(wrong(pointer, "timeOffsets need a new time namespace in linux.namespaces")),
        }
        if offset.nanosecs > 999_999_999 {
            found.error(wrong(pointer, format!("nanosecs {} is above 999999999", offset.nanosecs)));
        }
    }
}

fn check_net_devices(spec: &Spec, found: &mut Problems) {
    let devices = &spec.linux.net_devices;
    if !devices.is_empty() && find(spec, NamespaceKind::Network).is_none() {
        found.error(wrong("/linux/netDevices", "netDevices need a network namespace in linux.namespaces"));
    }
    let mut taken = BTreeSet::new();
    for (name, device) in devices {
        let inside = if device.0.name.is_empty() { name } else { &device.0.name };
        let names = [name, inside].into_iter().take(if name == inside { 1 } else { 2 });
        for (wrong_name, why) in names.filter_map(|name| Some((name, no_link_name(name)?))) {
            found.error(wrong(pointer(name), format!("network device name {wrong_name:?} {why}")));
        }
        if !taken.insert(inside) && !inside.contains('%') {
            found.error(wrong(pointer(name), format!("two network devices are called {inside:?} inside")));
        }
    }
}

/// What dev_valid_name() of the kernel says.
fn no_link_name(name: &str) -> Option<&'static str> {
    match name {
        "" | "." | ".." => Some("is no name"),
        _ if name.len() > LONGEST_NAME => Some("is longer than 15 bytes"),
        _ if name.contains(|c: char| c == '/' || c == ':' || c.is_ascii_whitespace() || c == '\0') => {
            Some("has a character that no name may have")
        }
        _ => None,
    }
}
