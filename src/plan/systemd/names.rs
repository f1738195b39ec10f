//! `linux.cgroupsPath` → the unit, its slice and its cgroup.

use crate::error::{Error, Result};

/// A unit's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The unit: `docker-c1.scope`.
    pub unit: String,
    /// The slice that it is in: `kube-pods.slice`.
    pub slice: String,
    /// The cgroup that systemd makes for it, relative to a hierarchy's root:
    /// `/kube.slice/kube-pods.slice/docker-c1.scope`.
    pub path: String,
}

/// The names that `slice:prefix:name` asks for, as runc has them: an empty slice is `system.slice`, or for
/// a user's own manager `user.slice`; without a path it is `:ferrun:ID`.
///
/// # Errors
/// A path of another form; names that systemd would not take; a slice in the place of a scope, which
/// cannot have processes.
pub fn names(cgroups_path: Option<&str>, id: &str, user: Option<u32>) -> Result<Names> {
    let path = cgroups_path.filter(|path| !path.is_empty());
    let (slice, prefix, name) = match path.map(|path| path.split(':').collect::<Vec<_>>()).as_deref() {
        None => ("", "ferrun", id),
        Some(&[slice, prefix, name]) => (slice, prefix, name),
        Some(_) => {
            let path = path.unwrap_or_default();
            return Err(Error::new(format!("cgroupsPath {path:?} is not slice:prefix:name, as for systemd cgroups"))
                .hint("systemd names cgroups itself; with other paths, leave --systemd-cgroup away"));
        }
    };
    if name.ends_with(".slice") {
        return Err(Error::new(format!("cgroupsPath names {name:?}, and systemd lets no process into a slice"))
            .hint("SLICE:PREFIX:NAME is a scope in SLICE, called PREFIX-NAME.scope"));
    }
    let (default, above) = match user {
        None => ("system.slice", String::new()),
        Some(uid) => ("user.slice", format!("/user.slice/user-{uid}.slice/user@{uid}.service")),
    };
    let slice = if slice.is_empty() { default } else { slice };
    let unit = format!("{prefix}-{name}.scope");
    if !is_name(&unit) {
        return Err(Error::new(format!("{unit:?} is no name for a unit of systemd"))
            .hint("it may have 255 letters, digits and - _ . \\ @"));
    }
    let path = format!("{above}{}/{}", expand(slice)?, escape(&unit));
    Ok(Names { unit, slice: slice.to_owned(), path })
}

/// A slice says in its name in which others it is: `a-b.slice` is `/a.slice/a-b.slice`.
fn expand(slice: &str) -> Result<String> {
    let wrong = || Error::new(format!("invalid slice name: {slice:?}")).hint("slices are called like a-b.slice");
    let stem = slice.strip_suffix(".slice").filter(|_| is_name(slice)).ok_or_else(wrong)?;
    if stem == "-" {
        return Ok(String::new());
    }
    if stem.split('-').any(str::is_empty) {
        return Err(wrong());
    }
    let ends = stem.match_indices('-').map(|(end, _)| end).chain([stem.len()]);
    Ok(ends.map(|end| format!("/{}", escape(&format!("{}.slice", &stem[..end])))).collect())
}

/// systemd.unit(5).
fn is_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.\\@".contains(&byte);
    name.len() <= 255 && name.bytes().all(letter)
}

/// A unit's name as that of a cgroup: systemd puts a `_` before one that could be a file's there, by its own list of
/// controllers (cgroup-util.c), which has not all of the kernel's, and has some that are none.
fn escape(unit: &str) -> String {
    const CONTROLLERS: [&str; 13] = [
        "cpu",
        "cpuacct",
        "cpuset",
        "io",
        "blkio",
        "memory",
        "devices",
        "pids",
        "bpf-firewall",
        "bpf-devices",
        "bpf-foreign",
        "bpf-socket-bind",
        "bpf-restrict-network-interfaces",
    ];
    // Up to the first dot, as in the files' names: `memory.a-b.scope` is escaped, too.
    let first = unit.split_once('.').map_or(unit, |(first, _)| first);
    let taken = unit.starts_with(['_', '.']) || first == "cgroup" || CONTROLLERS.contains(&first);
    if taken { format!("_{unit}") } else { unit.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_slices_and_their_cgroups() {
        for (path, unit, slice, cgroup) in [
            (None, "ferrun-c1.scope", "system.slice", "/system.slice/ferrun-c1.scope"),
            (Some(""), "ferrun-c1.scope", "system.slice", "/system.slice/ferrun-c1.scope"),
            (Some("::"), "-.scope", "system.slice", "/system.slice/-.scope"),
            (Some(":docker:x"), "docker-x.scope", "system.slice", "/system.slice/docker-x.scope"),
            (Some("a.slice:p:n"), "p-n.scope", "a.slice", "/a.slice/p-n.scope"),
            (Some("a-b-c.slice:p:n"), "p-n.scope", "a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice/p-n.scope"),
            (Some("-.slice:p:n"), "p-n.scope", "-.slice", "/p-n.scope"),
            (Some("a.slice:_p:n"), "_p-n.scope", "a.slice", "/a.slice/__p-n.scope"),
            (Some("memory-a.slice:p:n"), "p-n.scope", "memory-a.slice", "/_memory.slice/memory-a.slice/p-n.scope"),
            (Some("a.slice:memory.p:n"), "memory.p-n.scope", "a.slice", "/a.slice/_memory.p-n.scope"),
            (Some("hugetlb.slice:p:n"), "p-n.scope", "hugetlb.slice", "/hugetlb.slice/p-n.scope"),
            (
                Some("bpf-devices.slice:p:n"),
                "p-n.scope",
                "bpf-devices.slice",
                "/bpf.slice/_bpf-devices.slice/p-n.scope",
            ),
            (Some("a.slice:p:..n"), "p-..n.scope", "a.slice", "/a.slice/p-..n.scope"),
        ] {
            let names = names(path, "c1", None).expect("a path");
            assert_eq!((&*names.unit, &*names.slice, &*names.path), (unit, slice, cgroup), "{path:?}");
        }
        let of_user = names(None, "c1", Some(7)).unwrap();
        assert_eq!(of_user.slice, "user.slice");
        assert_eq!(of_user.path, "/user.slice/user-7.slice/user@7.service/user.slice/ferrun-c1.scope");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = format!("a.slice:p:{}", "n".repeat(255));
        for path in [
            "/a/b",
            "a",
            "a:b",
            "a:b:c:d",
            "a.slice:p:n.slice",
            "::a.slice",
            "a:p:n",
            "a.scope:p:n",
            ".slice:p:n",
            "slice:p:n",
            "-:p:n",
            "-a.slice:p:n",
            "a-.slice:p:n",
            "a--b.slice:p:n",
            "--.slice:p:n",
            "a/b.slice:p:n",
            "../a.slice:p:n",
            "a.slice:../p:n",
            "a.slice:p:../n",
            "a.slice:p:n/",
            "a.slice:p: ",
            "a.slice:p:ä",
            "a.slice:p:\0",
            "\0.slice:p:n",
            &long,
        ] {
            assert!(names(Some(path), "c1", None).is_err(), "{path:?}");
        }
        assert!(names(None, "a+b", None).is_err(), "systemd has no + in names");
    }
}
