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
    for controller in wanted.iter().filter_map(|(controllers, _)| *controllers).flat_map(|list| list.split(',')) {
        if controller.is_empty() || !layout.v1.iter().any(|hierarchy| hierarchy.has(controller)) {
            return Err(Error::new(format!("--cgroup {controller}: no hierarchy of cgroup v1 has this controller")));
        }
    }
    let paths = |hierarchy: &Hierarchy, by_name: bool| -> Vec<&str> {
        let is_named = |list: &str| list.split(',').any(|one| hierarchy.has(one));
        let fits = |controllers: Option<&str>| controllers.map_or(!by_name, |list| by_name && is_named(list));
        wanted.iter().filter(|(controllers, _)| fits(*controllers)).map(|(_, path)| path.as_str()).collect()
    };
    let below = |directory: &Directory| {
        let found = layout.find(&directory.path);
        let (hierarchy, _) = found.map_err(|why| Error::new(format!("cgroup {}: {why}", directory.path)))?;
        let sub = match (&paths(hierarchy, true)[..], &paths(hierarchy, false)[..]) {
            ([_, second, ..], _) | (_, [_, second, ..]) => {
                return Err(Error::new(format!("--cgroup {second}: a second path for the same hierarchy")));
            }
            ([path], _) | ([], [path]) => path,
            ([], []) => "",
        };
        Ok(Directory { path: [&*directory.path, sub].concat().into(), ..directory.clone() })
    };
    own.iter().map(below).collect()
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
        for wrong in [&["nosuch:x"][..], &["/../x"], &["cpuacct:a/.."], &["a", "b"], &["cpu:a", "cpuacct:b"], &[":x"]] {
            assert!(below(wrong).is_err(), "{wrong:?}");
        }
    }
}
