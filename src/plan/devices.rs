//! `linux.devices`, and the devices of every container.

use std::ffi::CStr;
use std::rc::Rc;

use nix::sys::stat::SFlag;

use super::Compiler;
use crate::bundle::device::Device;
use crate::bundle::path::clean;
use crate::pointer::Pointer;
use crate::rootfs::devices::DefaultDevices;
use crate::rootfs::node::Node;
use crate::rootfs::node_store::{CreateNodes, NodeStore};
use crate::types::default_devices::LINKS;

/// The link to the container's own pseudo-terminals, whatever `linux.devices` says: never the host's.
const PTMX: &CStr = c"ptmx";

fn name_in_dev(path: &CStr) -> Option<&[u8]> {
    path.to_bytes().strip_prefix(b"/dev/")
}

/// The node of a device, unless it is in the place of the link. Without a number the device has been refused before, if
/// this is a start.
fn node(device: &Device, bind: bool) -> Option<Node> {
    let path = clean(&device.path);
    if name_in_dev(&path) == Some(PTMX.to_bytes()) {
        return None;
    }
    let mode = device.file_mode.map(|mode| mode & !SFlag::S_IFMT.bits());
    Some(Node { mode, uid: device.uid, gid: device.gid, ..Node::new(path, device.kind, device.number()?, bind) })
}

impl Compiler<'_> {
    /// What the parent does for the devices of a user namespace, before the init is cloned.
    pub(super) fn create_nodes(&mut self) {
        let linux = &self.spec.linux;
        if !self.has_user_namespace() {
            return;
        }
        let nodes = linux.devices.iter().enumerate().filter(|(_, device)| device.kind != SFlag::S_IFIFO);
        let nodes = nodes.filter_map(|(index, device)| {
            let uid = linux.uid_mappings.on_host(device.uid.unwrap_or(0));
            let gid = linux.gid_mappings.on_host(device.gid.unwrap_or(0));
            Some((index, Node { uid, gid, ..node(device, true)? }))
        });
        let nodes: Vec<_> = nodes.collect();
        if nodes.is_empty() {
            return;
        }
        let store = Rc::new(NodeStore::default());
        self.plan.nodes = Some(store.clone());
        let (elsewhere, label) = (self.joins_mount_namespace(), self.mount_label());
        self.parent(Some(Pointer::new("/linux/devices")), CreateNodes { nodes, elsewhere, label, store });
    }

    /// The default devices, then those of the config. Whether /dev is the container's own, so that they are created there,
    /// is asked of its mount when the steps run: a path tells nothing, for links of the image.
    pub(super) fn devices(&mut self) {
        let bind = self.has_user_namespace();
        let devices = self.spec.linux.devices.iter().enumerate();
        let nodes: Vec<_> = devices.filter_map(|(index, device)| Some((index, node(device, bind)?))).collect();
        let has = |name: &CStr| nodes.iter().any(|(_, node)| name_in_dev(&node.path) == Some(name.to_bytes()));
        let without = LINKS.iter().map(|(name, _)| *name).filter(|name| has(name)).collect();
        self.init(Some(Pointer::new("/linux/devices")), DefaultDevices { bind, without });
        self.plan.devices = nodes.len();
        for (index, node) in nodes {
            let store = self.plan.nodes.clone().map(|store| (store, index));
            let node = Node { store, ..node };
            self.init(Some(Pointer::at("/linux/devices/#", index)), Box::new(node));
        }
    }
}
