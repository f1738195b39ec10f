//! `exec --cgroup`: cgroups below the container's, which it has made itself.

use std::ffi::CString;

use crate::bundle::path::clean;
use crate::cgroup::directory::Directory;
use crate::cgroup::layout::{Hierarchy, Layout};
use crate::error::{Error, Result};

/// The container's directories with the paths below them that are asked for: `PATH`, or `CONTROLLER[,CONTROLLER]:PATH` for
/// hierarchies of v1.
///
/// # Errors
/// A controller that no hierarchy has, or that has two paths; a path that leads out, or has a NUL.
pub fn sub_cgroups(own: &[Directory], given: &[String], layout: &Layout) -> Result<Vec<Directory>> {
    let wanted: Vec<(Option<&str>, String)> = given.iter().map(|one| read(one)).collect::<Result<_>>()?;
    let mut controllers = Vec::new();
    for controller in wanted.iter().flat_map(|(controllers, _)| controllers.unwrap_or_default().split(',')) {
        if controllers.contains(&controller) {
            return Err(Error::new(format!("--cgroup {controller}: two paths for one hierarchy")));
        }
        controllers.push(controller);
    }
    for controller in controllers.into_iter().filter(|controller| !controller.is_empty()) {
        if !layout.v1.iter().any(|hierarchy| hierarchy.has(controller)) {
            return Err(Error::new(format!("--cgroup {controller}: no hierarchy of cgroup v1 has this controller")));
        }
    }
    let path = |hierarchy: &Hierarchy| {
        let named = |controllers: &&str| controllers.split(',').any(|one| hierarchy.has(one));
        let by_name = wanted.iter().rev().find(|(controllers, _)| controllers.as_ref().is_some_and(named));
        let for_all = || wanted.iter().rev().find(|(controllers, _)| controllers.is_none());
        by_name.or_else(for_all).map_or("", |(_, path)| path)
    };
    let below = |directory: &Directory| {
        let sub = layout.find(&directory.path).map_or("", |(hierarchy, _)| path(hierarchy));
        Directory { path: [&*directory.path, sub].concat().into(), ..directory.clone() }
    };
    Ok(own.iter().map(below).collect())
}

/// The controllers, and the path in normal form: empty, or with a slash before it.
fn read(text: &str) -> Result<(Option<&str>, String)> {
    let (controllers, path) = text.split_once(':').map_or((None, text), |(list, path)| (Some(list), path));
    if path.split('/').any(|part| part == "..") {
        return Err(Error::new(format!("--cgroup {text:?} leads out of the container's cgroup")));
    }
    let path = CString::new(format!("/{path}")).map_err(|_| Error::new(format!("--cgroup {text:?} has a NUL")))?;
    let path = clean(&path).into_string().map_err(|_| Error::new(format!("--cgroup {text:?} is no text")))?;
    Ok((controllers, path.trim_end_matches('/').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_in_the_containers_own() {
        let hierarchy = |controllers: &str, mount_point: &str| Hierarchy {
            controllers: controllers.into(),
            mount_point: mount_point.into(),
            own: "/".into(),
        };
        let layout = Layout {
            v1: vec![hierarchy("cpu,cpuacct", "/sys/fs/cgroup/cpu"), hierarchy("memory", "/sys/fs/cgroup/memory")],
            unified: Some(hierarchy("", "/sys/fs/cgroup/unified")),
        };
        let own = ["/sys/fs/cgroup/unified/c", "/sys/fs/cgroup/cpu/c", "/sys/fs/cgroup/memory/c"];
        let own = own.map(|path| Directory { path: path.into(), existed: false });
        let below = |given: &[&str]| {
            let given: Vec<String> = given.iter().map(|one| (*one).to_owned()).collect();
            let found = sub_cgroups(&own, &given, &layout)?;
            Ok::<_, Error>(found.iter().map(|one| one.path.rsplit_once("/c").unwrap().1.to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(below(&[]).unwrap(), ["", "", ""]);
        assert_eq!(below(&["a/b"]).unwrap(), ["/a/b", "/a/b", "/a/b"]);
        assert_eq!(below(&["/x/", "memory:m"]).unwrap(), ["/x", "/x", "/m"]);
        assert_eq!(below(&["cpuacct:/"]).unwrap(), ["", "", ""]);
        for wrong in [&["nosuch:x"][..], &["/../x"], &["cpuacct:a/.."], &["a", "b"], &["cpu:a", "memory,cpu:b"]] {
            assert!(below(wrong).is_err(), "{wrong:?}");
        }
    }
}
