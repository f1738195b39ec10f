//! Whether the namespaces, and what belongs to them, make sense together.

use super::Spec;
use super::check::wrong;
use super::linux::NamespaceKind;
use super::process::User;
use crate::error::{Error, Result};
use crate::pointer::Pointer;
use crate::process::ids::Mappings;

/// Longest name of a network link: IFNAMSIZ of linux/if.h, less the NUL.
const LONGEST_LINK: usize = 15;

/// Checks `linux.namespaces`, the mappings, clocks and links that need them, and the names inside.
///
/// # Errors
/// The first value that cannot be honoured, with its pointer.
pub(super) fn check(spec: &Spec, warnings: &mut Vec<Error>) -> Result<()> {
    check_list(spec)?;
    check_user_namespace(spec, warnings)?;
    check_time_offsets(spec)?;
    check_net_devices(spec)
}

/// Whether there is one of this kind, and whether it is joined.
fn find(spec: &Spec, kind: NamespaceKind) -> Option<(usize, bool)> {
    let list = &spec.linux.namespaces;
    let index = list.iter().position(|namespace| namespace.kind == kind)?;
    Some((index, list[index].path().is_some()))
}

fn check_list(spec: &Spec) -> Result<()> {
    let list = &spec.linux.namespaces;
    for (index, namespace) in list.iter().enumerate() {
        if list[..index].iter().any(|earlier| earlier.kind == namespace.kind) {
            let message = format!("the {:?} namespace is listed twice", namespace.kind);
            return Err(wrong(Pointer::at("/linux/namespaces/#", index), message));
        }
        if let Some(path) = namespace.path().filter(|path| path.to_bytes()[0] != b'/') {
            let message = format!("namespace path {path:?} is not absolute");
            return Err(wrong(Pointer::at("/linux/namespaces/#/path", index), message));
        }
    }
    match find(spec, NamespaceKind::Mount) {
        Some((_, false)) => {}
        Some((index, true)) => {
            let message = "joining a mount namespace is not supported by this version of ferrun: the container's \
                           root and mounts would become those of all processes in it";
            return Err(wrong(Pointer::at("/linux/namespaces/#/path", index), message));
        }
        None => {
            let message = "a container needs a mount namespace of its own: its mounts would appear on the host";
            return Err(wrong("/linux/namespaces", message).hint("add {\"type\": \"mount\"} to linux.namespaces"));
        }
    }
    if !spec.hostname.is_empty() && find(spec, NamespaceKind::Uts).is_none() {
        return Err(wrong("/hostname", "unable to set hostname without a private UTS namespace"));
    }
    if !spec.domainname.is_empty() && find(spec, NamespaceKind::Uts).is_none() {
        return Err(wrong("/domainname", "unable to set domainname without a private UTS namespace"));
    }
    Ok(())
}

fn check_user_namespace(spec: &Spec, warnings: &mut Vec<Error>) -> Result<()> {
    let lists = [
        ("/linux/uidMappings", "/linux/uidMappings/#", &spec.linux.uid_mappings),
        ("/linux/gidMappings", "/linux/gidMappings/#", &spec.linux.gid_mappings),
    ];
    let Some((_, joined)) = find(spec, NamespaceKind::User) else {
        let given = lists.iter().filter(|(.., list)| !list.is_empty());
        warnings.extend(given.map(|(pointer, ..)| wrong(pointer, "mappings without a user namespace change nothing")));
        return Ok(());
    };
    for (pointer, element, list) in lists {
        if list.is_empty() && !joined {
            let message = "a new user namespace needs both uidMappings and gidMappings";
            return Err(wrong("/linux/namespaces", message).hint(format!("add {}", &pointer[1..].replace('/', "."))));
        }
        check_ranges(list, element)?;
        if !list.is_empty() && list.on_host(0).is_none() {
            let message = "id 0 of the container is not mapped: its root sets the container up";
            return Err(wrong(pointer, message));
        }
    }
    let user = spec.process.as_ref().map(|process| &process.user);
    user.map_or(Ok(()), |user| check_ids(user, &spec.linux.uid_mappings, &spec.linux.gid_mappings))?;
    check_terminals(spec)
}

fn check_ranges(list: &Mappings, element: &'static str) -> Result<()> {
    for (index, range) in list.0.iter().enumerate() {
        let pointer = Pointer::at(element, index);
        if range.size == 0 {
            return Err(wrong(pointer, "a mapping of no ids: size is 0"));
        }
        // The last id of all, -1, is none.
        let too_far = |first: u32| u64::from(first) + u64::from(range.size) > u64::from(u32::MAX);
        if too_far(range.inside) || too_far(range.outside) {
            return Err(wrong(pointer, "a mapping beyond the last id, 4294967294"));
        }
        let meets = |a: u32, b: u32, b_size: u32| a < b + b_size && b < a + range.size;
        let earlier = list.0[..index].iter().position(|other| {
            meets(range.inside, other.inside, other.size) || meets(range.outside, other.outside, other.size)
        });
        if let Some(earlier) = earlier {
            return Err(wrong(pointer, format!("the mapping overlaps with mapping {earlier}")));
        }
    }
    Ok(())
}

/// Every id of the process must mean something outside. A joined namespace's mappings need not be given.
fn check_ids(user: &User, uids: &Mappings, gids: &Mappings) -> Result<()> {
    let groups = user.additional_gids.iter().enumerate();
    let groups = groups.map(|(index, gid)| (Pointer::at("/process/user/additionalGids/#", index), *gid, gids));
    let ids =
        [(Pointer::new("/process/user/uid"), user.uid, uids), (Pointer::new("/process/user/gid"), user.gid, gids)];
    for (pointer, id, list) in ids.into_iter().chain(groups) {
        if !list.is_empty() && list.on_host(id).is_none() {
            return Err(wrong(pointer, format!("id {id} of the container is not mapped in its user namespace")));
        }
    }
    Ok(())
}

/// The group of the terminals, which default configs set to 5.
fn check_terminals(spec: &Spec) -> Result<()> {
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
                return Err(
                    wrong(Pointer::at("/mounts/#/options", index), message).hint("take the option away, or map the id")
                );
            }
        }
    }
    Ok(())
}

fn check_time_offsets(spec: &Spec) -> Result<()> {
    let offsets = &spec.linux.time_offsets;
    let clocks =
        [("/linux/timeOffsets/monotonic", offsets.monotonic), ("/linux/timeOffsets/boottime", offsets.boottime)];
    for (pointer, offset) in clocks {
        let Some(offset) = offset else { continue };
        match find(spec, NamespaceKind::Time) {
            Some((_, false)) => {}
            Some((_, true)) => return Err(wrong(pointer, "the clocks of a time namespace that is joined are set")),
            None => return Err(wrong(pointer, "timeOffsets need a new time namespace in linux.namespaces")),
        }
        if offset.nanosecs > 999_999_999 {
            return Err(wrong(pointer, format!("nanosecs {} is above 999999999", offset.nanosecs)));
        }
    }
    Ok(())
}

fn check_net_devices(spec: &Spec) -> Result<()> {
    let devices = &spec.linux.net_devices;
    if !devices.is_empty() && find(spec, NamespaceKind::Network).is_none() {
        return Err(wrong("/linux/netDevices", "netDevices need a network namespace in linux.namespaces"));
    }
    let mut taken = Vec::new();
    for (name, device) in devices {
        let inside = if device.0.name.is_empty() { name } else { &device.0.name };
        for name in [name, inside] {
            if let Some(why) = no_link_name(name) {
                return Err(wrong("/linux/netDevices", format!("network device name {name:?} {why}")));
            }
        }
        if taken.contains(&inside) && !inside.contains('%') {
            return Err(wrong("/linux/netDevices", format!("two network devices are called {inside:?} inside")));
        }
        taken.push(inside);
    }
    Ok(())
}

/// What dev_valid_name() of the kernel says.
fn no_link_name(name: &str) -> Option<&'static str> {
    match name {
        "" | "." | ".." => Some("is no name"),
        _ if name.len() > LONGEST_LINK => Some("is longer than 15 bytes"),
        _ if name.contains(|c: char| c == '/' || c == ':' || c.is_ascii_whitespace() || c == '\0') => {
            Some("has a character that no name may have")
        }
        _ => None,
    }
}
