//! Security modules: `process.apparmorProfile`, `process.selinuxLabel`, `linux.mountLabel`.

use std::ffi::CString;

use nix::sched::CloneFlags;

use super::Compiler;
use crate::bundle::mount::Mount;
use crate::bundle::process::Process;
use crate::error::{Error, Result};
use crate::pointer::Pointer;
use crate::process::label::{ExecLabel, KeyLabel, Module};
use crate::types::mount_options::Data;

const APPARMOR: Pointer = Pointer::new("/process/apparmorProfile");
const SELINUX: Pointer = Pointer::new("/process/selinuxLabel");
const MOUNT_LABEL: Pointer = Pointer::new("/linux/mountLabel");

/// The file systems that take no label from a mount: SELinux labels the first two by itself, and message
/// queues are the ipc namespace's, not the mount's.
const OWN_LABELS: &[&[u8]] = &[b"proc", b"sysfs", b"mqueue"];

fn missing(module: &str, from: Pointer) -> Error {
    Error::new(format!("{module} is not enabled on this host")).from_property(from)
}

impl Compiler<'_> {
    /// What execve(2) changes to, while ferrun may open files and make a procfs.
    pub(super) fn exec_labels(&mut self, process: &Process) {
        if !process.apparmor_profile.is_empty() {
            let label = process.apparmor_profile.0.clone();
            match self.host.apparmor {
                true => self.init(Some(APPARMOR), ExecLabel { module: Module::AppArmor, label }),
                false => self.errors.push(missing("AppArmor", APPARMOR)),
            }
        }
        if !process.selinux_label.is_empty() {
            let label = process.selinux_label.0.clone();
            match self.host.selinux {
                true => self.init(Some(SELINUX), ExecLabel { module: Module::SeLinux, label }),
                false => self.errors.push(missing("SELinux", SELINUX)),
            }
        }
    }

    /// Refuses a label for mounts that nothing would heed.
    pub(super) fn check_mount_label(&self) -> Result<()> {
        match self.spec.linux.mount_label.is_empty() || self.host.selinux {
            true => Ok(()),
            false => Err(missing("SELinux", MOUNT_LABEL)),
        }
    }

    /// The label of what the program may use of keys, as its own.
    pub(super) fn key_label(&mut self) {
        let label = self.spec.process.as_ref().map(|process| &process.selinux_label);
        if let Some(label) = label.filter(|label| !label.is_empty() && self.host.selinux) {
            self.init(Some(SELINUX), KeyLabel(label.0.clone()));
        }
    }

    /// The label of mounts, if there is one.
    pub(super) fn mount_label(&self) -> Option<CString> {
        let label = &self.spec.linux.mount_label;
        (!label.is_empty()).then(|| label.0.clone())
    }

    /// The label of the message queues' directory. Of the host's it stays as it is, which the container's
    /// end would not change back.
    pub(super) fn queue_label(&self, entry: &Mount) -> Option<CString> {
        let own = self.new_namespaces() | self.joined_namespaces();
        let labelled = entry.kind() == Some(c"mqueue") && !entry.is_bind() && own.contains(CloneFlags::CLONE_NEWIPC);
        self.mount_label().filter(|_| labelled)
    }

    /// The option that labels a mount: selinux(8), mount(8). A bind shows files that have labels.
    pub(super) fn mount_context(&self, entry: &Mount) -> Option<Data> {
        let label = self.mount_label()?;
        let own = entry.kind().is_some_and(|kind| OWN_LABELS.contains(&kind.to_bytes()));
        let given = entry.options.data.iter().any(|data| data.key.as_c_str() == c"context");
        let labelled = !entry.is_bind() && !own && !given;
        labelled.then(|| Data { key: c"context".to_owned(), value: Some(label), at: None })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::bundle::{Bundle, default};
    use crate::cgroup::Manager;
    use crate::plan::{Host, InitAction, Options, compile};

    fn compiled(property: &str, enabled: bool) -> Result<Vec<(String, Option<String>)>> {
        let mut config = default::config();
        let (object, name) = property.split_once('/').unwrap();
        config[object][name] = json!("label");
        config["mounts"].as_array_mut().unwrap().push(json!({
            "destination": "/own", "type": "tmpfs", "source": "tmpfs", "options": ["context=own"]
        }));
        let spec = serde_json::from_value(config).unwrap();
        let bundle = Bundle::of_spec("/bundle".into(), spec);
        let cgroups = crate::cgroup::layout::Layout::default();
        let host = Host {
            cgroups,
            permitted: u64::MAX,
            apparmor: enabled,
            selinux: enabled,
            resctrl: None,
            proc_of_any_pid_namespace: false,
            tree_namespace: false,
        };
        let plan = compile(&bundle, &host, &Options { manager: Manager::Disabled, ..Options::default() })?;
        let mounts = plan.init.iter().filter_map(|step| match &step.action {
            InitAction::Mount(mount) => {
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
            assert!(error.message.contains(module), "{error}");
            crate::golden::compare(&error.message);
            assert_eq!(error.pointer.as_deref(), Some(format!("/{property}").as_str()));
            assert!(compiled(property, true).is_ok());
        }
    }
}
