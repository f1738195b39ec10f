//! Security modules: `process.apparmorProfile`, `process.selinuxLabel`, `linux.mountLabel`.

use super::Compiler;
use crate::bundle::mount::Mount;
use crate::bundle::process::Process;
use crate::error::{Error, Result};
use crate::pointer::Pointer;
use crate::process::label::{ExecLabel, Module};
use crate::rootfs::options::Data;

const APPARMOR: Pointer = Pointer::new("/process/apparmorProfile");
const SELINUX: Pointer = Pointer::new("/process/selinuxLabel");
const MOUNT_LABEL: Pointer = Pointer::new("/linux/mountLabel");

/// The file systems that SELinux labels by itself: the kernel takes no label for the first two from a
/// mount, and a message queue is the ipc namespace's, not the mount's.
const OWN_LABELS: &[&[u8]] = &[b"proc", b"sysfs", b"mqueue"];

fn missing(module: &str, from: Pointer) -> Error {
    Error::new(format!("{module} is not enabled on this host")).from_property(from)
}

impl Compiler<'_> {
    /// What execve(2) changes to, while ferrun may open files and make a procfs.
    pub(super) fn exec_labels(&mut self, process: &Process) -> Result<()> {
        if !process.apparmor_profile.is_empty() {
            if !self.host.apparmor {
                return Err(missing("AppArmor", APPARMOR));
            }
            let label = process.apparmor_profile.0.clone();
            self.init(Some(APPARMOR), ExecLabel { module: Module::AppArmor, label });
        }
        if !process.selinux_label.is_empty() {
            if !self.host.selinux {
                return Err(missing("SELinux", SELINUX));
            }
            let label = process.selinux_label.0.clone();
            self.init(Some(SELINUX), ExecLabel { module: Module::SeLinux, label });
        }
        Ok(())
    }

    /// Refuses a label for mounts that nothing would heed.
    pub(super) fn check_mount_label(&self) -> Result<()> {
        match self.spec.linux.mount_label.is_empty() || self.host.selinux {
            true => Ok(()),
            false => Err(missing("SELinux", MOUNT_LABEL)),
        }
    }

    /// The option that labels a mount: selinux(8), mount(8). A bind shows files that have labels.
    pub(super) fn mount_context(&self, entry: &Mount) -> Option<Data> {
        let label = &self.spec.linux.mount_label;
        let own = entry.kind().is_some_and(|kind| OWN_LABELS.contains(&kind.to_bytes()));
        let given = entry.options.data.iter().any(|data| data.key.as_c_str() == c"context");
        let labelled = !label.is_empty() && !entry.is_bind() && !own && !given;
        labelled.then(|| Data { key: c"context".to_owned(), value: Some(label.0.clone()) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::bundle::{Bundle, default};
    use crate::plan::{Action, Host, Options, compile};

    fn compiled(property: &str, enabled: bool) -> Result<Vec<(String, Option<String>)>> {
        let mut config = default::config();
        let (object, name) = property.split_once('/').unwrap();
        config[object][name] = json!("label");
        config["mounts"].as_array_mut().unwrap().push(json!({
            "destination": "/own", "type": "tmpfs", "source": "tmpfs", "options": ["context=own"]
        }));
        let spec = serde_json::from_value(config).unwrap();
        let bundle = Bundle { dir: "/bundle".into(), text: Vec::new(), spec, warnings: Vec::new() };
        let cgroups = crate::cgroup::layout::Layout::default();
        let host = Host { cgroups, permitted: u64::MAX, apparmor: enabled, selinux: enabled, resctrl: None };
        let plan = compile(&bundle, &host, &Options { no_cgroup: true, ..Options::default() })?;
        let mounts = plan.init.iter().filter_map(|step| match &step.action {
            Action::Mount(mount) => {
                let data = mount.options.data.iter().find(|data| data.key.as_c_str() == c"context");
                let value = data.and_then(|data| Some(data.value.as_ref()?.to_string_lossy().into_owned()));
                Some((mount.destination.to_string_lossy().into_owned(), value))
            }
            _ => None,
        });
        Ok(mounts.collect())
    }

    #[test]
    fn mounts_are_labelled_where_they_take_a_label() {
        let labelled = |path: &str| matches!(path, "/dev" | "/dev/pts" | "/dev/shm");
        let mounts = compiled("linux/mountLabel", true).unwrap();
        assert_eq!(mounts.iter().filter(|(_, label)| label.as_deref() == Some("label")).count(), 3);
        for (path, label) in &mounts {
            let wanted = if path == "/own" { Some("own") } else { labelled(path).then_some("label") };
            assert_eq!(label.as_deref(), wanted, "{path}");
        }
        assert!(
            compiled("process/selinuxLabel", true)
                .unwrap()
                .iter()
                .all(|(path, label)| path == "/own" || label.is_none())
        );
    }

    #[test]
    fn a_label_that_nothing_would_heed_is_refused() {
        for (property, module) in [
            ("linux/mountLabel", "SELinux"),
            ("process/selinuxLabel", "SELinux"),
            ("process/apparmorProfile", "AppArmor"),
        ] {
            let error = compiled(property, false).unwrap_err();
            assert_eq!(error.message, format!("{module} is not enabled on this host"));
            assert_eq!(error.pointer.as_deref(), Some(format!("/{property}").as_str()));
            assert!(compiled(property, true).is_ok());
        }
    }
}
