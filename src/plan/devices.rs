//! `linux.devices`, and the devices of every container.

use nix::sys::stat::SFlag;

use super::Compiler;
use crate::bundle::path::clean;
use crate::pointer::Pointer;
use crate::rootfs::devices::DefaultDevices;
use crate::rootfs::node::Node;

impl Compiler<'_> {
    /// Whether /dev is a part of the host's tree, perhaps its own /dev.
    pub(super) fn binds_dev(&self) -> bool {
        self.spec.mounts.iter().any(|entry| entry.is_bind() && !entry.options.remount && &*entry.destination == c"/dev")
    }

    /// The default devices, then those of the config. A bundle that binds a /dev of its own has there what it
    /// has: as with runc, nothing is made in what may be the host's.
    pub(super) fn devices(&mut self) {
        let bound = self.binds_dev();
        if !bound {
            let bind = self.has_user_namespace();
            self.init(Some(Pointer::new("/linux/devices")), DefaultDevices { bind });
        }
        for (index, device) in self.spec.linux.devices.iter().enumerate() {
            let path = clean(&device.path);
            // Without a number it has been refused before, if this is a start.
            let Some(number) = device.number() else { continue };
            // ptmx is a link to the container's own pseudo-terminals, never the host's.
            if path.as_c_str() == c"/dev/ptmx" || (bound && path.to_bytes().starts_with(b"/dev/")) {
                continue;
            }
            let node = Node {
                path,
                kind: device.kind,
                number,
                mode: device.file_mode.map(|mode| mode & !SFlag::S_IFMT.bits()),
                uid: device.uid,
                gid: device.gid,
                bind: self.has_user_namespace(),
            };
            self.init(Some(Pointer::at("/linux/devices/#", index)), node);
        }
    }
}
