//! `linux.devices`, and the devices of every container.

use nix::sys::stat::SFlag;

use super::Compiler;
use crate::bundle::path::clean;
use crate::pointer::Pointer;
use crate::rootfs::devices::DefaultDevices;
use crate::rootfs::node::Node;

impl Compiler<'_> {
    /// The default devices, then those of the config. Whether /dev is the container's own, so that they are created there,
    /// is asked of its mount when the steps run: a path tells nothing, for links of the image.
    pub(super) fn devices(&mut self) {
        let bind = self.has_user_namespace();
        self.init(Some(Pointer::new("/linux/devices")), DefaultDevices { bind });
        for (index, device) in self.spec.linux.devices.iter().enumerate() {
            let path = clean(&device.path);
            // Without a number it has been refused before, if this is a start.
            let Some(number) = device.number() else { continue };
            // ptmx is a link to the container's own pseudo-terminals, never the host's.
            if path.as_c_str() == c"/dev/ptmx" {
                continue;
            }
            let node = Node {
                path,
                kind: device.kind,
                number,
                mode: device.file_mode.map(|mode| mode & !SFlag::S_IFMT.bits()),
                uid: device.uid,
                gid: device.gid,
                bind,
            };
            self.init(Some(Pointer::at("/linux/devices/#", index)), node);
        }
    }
}
