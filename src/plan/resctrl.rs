//! `linux.intelRdt`.

use super::Compiler;
use crate::error::{Error, Result};
use crate::pointer::Pointer;
use crate::resctrl::class::Class;

const FROM: Pointer = Pointer::new("/linux/intelRdt");

impl Compiler<'_> {
    /// The class of service, in the parent's lane: resctrl is the host's.
    pub(super) fn resctrl(&mut self) -> Result<()> {
        let Some(rdt) = &self.spec.linux.intel_rdt else { return Ok(()) };
        let root = self.host.resctrl.clone().ok_or_else(|| {
            Error::new("intelRdt needs the resctrl file system, which is not mounted on this host")
                .from_property(FROM)
                .hint("where the hardware has it: mount -t resctrl resctrl /sys/fs/resctrl")
        })?;
        let id = &self.options.id;
        let path = match rdt.clos_id.as_str() {
            "" => format!("{root}/{id}"),
            "/" => root.clone(),
            class => format!("{root}/{class}"),
        };
        let own = [&rdt.l3_cache_schema, &rdt.mem_bw_schema];
        let class = Class {
            named: !rdt.clos_id.is_empty(),
            own: own.into_iter().filter(|line| !line.is_empty()).cloned().collect(),
            more: rdt.schemata.clone(),
            monitor: rdt.enable_monitoring.then(|| format!("{path}/mon_groups/{id}")),
            root,
            path,
        };
        self.plan.resctrl = class.own_directory();
        self.parent(Some(FROM), Box::new(class));
        Ok(())
    }
}
