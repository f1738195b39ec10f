//! The cgroup that a process is in now, read from /proc/PID/cgroup. A container's init may have moved itself:
//! systemd and a nested engine do, since on v2 a cgroup with processes can have no controllers for its children.

use nix::unistd::Pid;

use super::directory::Directory;
use super::layout::{Hierarchy, Layout, is_at_or_below, is_outside};
use crate::error::{Context, Error, Result};
use crate::sys::file;

/// The directories, on the host, of the cgroups that a process is in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Current {
    /// In the v1 hierarchies, in the layout's order.
    pub v1: Vec<String>,
    /// In the v2 hierarchy.
    pub unified: Option<String>,
}

/// Looks up where a process is, in each hierarchy of this host. The caller holds the process's descriptor
/// and sees by it, afterwards, that the pid still was this process's.
///
/// # Errors
/// A process that is gone (ENOENT, ESRCH), or that is in a cgroup which the caller cannot see.
pub fn of(pid: Pid, layout: &Layout) -> Result<Current> {
    let path = format!("/proc/{pid}/cgroup");
    let text = file::read(path.as_str()).what(|| format!("read {path}"))?;
    read(&String::from_utf8_lossy(&text), layout)
}

/// Whether a process is in one of these directories or below, in any hierarchy. The caller holds the process's
/// descriptor, as for [`of`].
///
/// # Errors
/// A process that is gone; a question that cannot be answered here: none of the directories is in a mounted
/// hierarchy, or the process is in a cgroup that the caller cannot see.
pub fn is_in(pid: Pid, directories: &[Directory]) -> Result<bool> {
    let path = format!("/proc/{pid}/cgroup");
    let text = file::read(path.as_str()).what(|| format!("read {path}"))?;
    contain(directories, &String::from_utf8_lossy(&text), &Layout::probe()?)
}

fn contain(directories: &[Directory], text: &str, layout: &Layout) -> Result<bool> {
    let mut asked = false;
    let mut unseen = None;
    for hierarchy in layout.hierarchies() {
        let Some(current) = cgroup_in(text, hierarchy) else { continue };
        for own in directories.iter().filter_map(|directory| hierarchy.relative(&directory.path)) {
            if is_at_or_below(current, own) {
                return Ok(true);
            }
            asked = true;
            unseen = unseen.or_else(|| is_outside(current).then_some(current));
        }
    }
    match unseen {
        Some(current) => Err(outside(current)),
        None if !asked => Err(Error::new("the container has no cgroup in a mounted hierarchy")),
        None => Ok(false),
    }
}

/// Reads /proc/PID/cgroup (cgroups(7)).
fn read(text: &str, layout: &Layout) -> Result<Current> {
    let directory = |hierarchy: &Hierarchy| -> Result<Option<String>> {
        cgroup_in(text, hierarchy).map(|path| on_host(hierarchy, path)).transpose()
    };
    let v1: Result<Vec<Option<String>>> = layout.v1.iter().map(directory).collect();
    let unified = layout.unified.as_ref().map(directory).transpose()?;
    Ok(Current { v1: v1?.into_iter().flatten().collect(), unified: unified.flatten() })
}

/// The line of a hierarchy: `4:memory:/a`, and `0::/a` for v2. A path may have colons.
fn cgroup_in<'a>(text: &'a str, hierarchy: &Hierarchy) -> Option<&'a str> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    lines.find(|(controllers, _)| *controllers == hierarchy.controllers).map(|(_, path)| path)
}

fn outside(path: &str) -> Error {
    Error::new(format!("cgroup {path} is outside of this cgroup namespace"))
}

/// A path as the kernel reports it is relative to the root of the reader's cgroup namespace: `/../a` is
/// outside of that, and not below any mount of it.
fn on_host(hierarchy: &Hierarchy, path: &str) -> Result<String> {
    if is_outside(path) {
        return Err(outside(path));
    }
    if path.ends_with(" (deleted)") {
        return Err(Error::new(format!("cgroup {path} is gone, and with it the process")));
    }
    Ok(format!("{}{}", hierarchy.mount_point, path.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(v1: &[&str], unified: Option<&str>) -> Layout {
        let hierarchy = |controllers: &str, mount: &str| Hierarchy {
            controllers: controllers.into(),
            mount_point: mount.into(),
            own: "/".into(),
        };
        let mount = |name: &&str| hierarchy(name, &format!("/cg/{}", name.trim_start_matches("name=")));
        Layout { v1: v1.iter().map(mount).collect(), unified: unified.map(|mount| hierarchy("", mount)) }
    }

    #[test]
    fn each_hierarchy_has_its_own_path() {
        let text =
            "12:cpu,cpuacct:/c1/inner\n4:memory:/c1\n2:net_cls:/elsewhere\n1:name=systemd:/c1/a:b\n0::/c1/leaf\n";
        let hybrid = layout(&["name=systemd", "cpu,cpuacct", "memory", "pids"], Some("/cg/unified"));
        let found = read(text, &hybrid).unwrap();
        assert_eq!(found.v1, ["/cg/systemd/c1/a:b", "/cg/cpu,cpuacct/c1/inner", "/cg/memory/c1"]);
        assert_eq!(found.unified.as_deref(), Some("/cg/unified/c1/leaf"));
        let v2 = read("0::/kubepods.slice/cri-1.scope/init.scope\n", &layout(&[], Some("/cg"))).unwrap();
        assert_eq!(v2.unified.as_deref(), Some("/cg/kubepods.slice/cri-1.scope/init.scope"));
        assert_eq!(v2.v1, Vec::<String>::new());
        assert_eq!(read("0::/\n", &layout(&[], Some("/cg"))).unwrap().unified.as_deref(), Some("/cg"));
        assert_eq!(read("0::/a\n", &layout(&["memory"], None)).unwrap(), Current::default());
    }

    #[test]
    fn what_cannot_be_reached_is_an_error() {
        let v2 = layout(&[], Some("/cg"));
        for (text, words) in
            [("0::/../b\n", "outside"), ("0::/..\n", "outside"), ("0::/a (deleted)\n", "gone"), ("0::/..a\n", "")]
        {
            match read(text, &v2) {
                Err(error) => assert!(!words.is_empty() && error.message.contains(words), "{error}"),
                Ok(found) => assert_eq!((found.unified.as_deref(), words), (Some("/cg/..a"), "")),
            }
        }
    }

    #[test]
    fn a_process_is_in_a_directory_or_below() {
        let hybrid = layout(&["memory", "pids"], Some("/cg/unified"));
        let text = "4:memory:/c1/inner\n3:pids:/../x\n0::/c1x\n";
        let is_in = |paths: &[&str]| {
            let directory = |path: &&str| Directory { path: (*path).into(), existed: false };
            contain(&paths.iter().map(directory).collect::<Vec<_>>(), text, &hybrid)
        };
        for (paths, answer) in [
            (&["/cg/memory/c1"][..], Some(true)),
            (&["/cg/unified/c1", "/cg/pids/x", "/cg/memory/c1/inner"], Some(true)),
            (&["/cg/unified/c1", "/cg/memory/c1/inner/more", "/cg/memory/c"], Some(false)),
            // A hierarchy's root has every process.
            (&["/cg/unified/c1", "/cg/memory", "/cg/memory/"], Some(false)),
            (&["/cg/unified/c1", "/cg/pids/x"], None),
            (&["/cg/memoryx/c1", "/elsewhere"], None),
            (&[], None),
        ] {
            assert_eq!(is_in(paths).ok(), answer, "{paths:?}");
        }
    }

    #[test]
    fn this_process_is_where_the_layout_says() {
        let layout = Layout::probe().unwrap();
        let found = of(nix::unistd::getpid(), &layout).unwrap();
        let own = |hierarchy: &Hierarchy| on_host(hierarchy, &hierarchy.own).unwrap();
        assert_eq!(found.v1, layout.v1.iter().map(own).collect::<Vec<_>>());
        assert_eq!(found.unified, layout.unified.as_ref().map(own));
        assert!(found.v1.iter().chain(&found.unified).all(|path| std::path::Path::new(path).is_dir()));
    }
}
