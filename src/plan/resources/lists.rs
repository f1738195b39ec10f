//! Limits that are lists of names: huge pages by size, priorities by network interface, RDMA devices, `unified`.

use std::borrow::Cow;

use super::Writes;
use crate::bundle::limits::{HUGE_PAGES, NET_PRIORITY, NO_MARKS, RDMA, Version, file_named};
use crate::bundle::resources::Resources;
use crate::cgroup::write::{Otherwise, UNIFIED, Write};
use crate::error::{Error, Result};
use crate::pointer::Pointer;

impl Writes {
    pub(super) fn add_lists(&mut self, resources: &Resources) -> Result<()> {
        self.huge_pages(resources);
        self.rdma(resources);
        self.priorities(resources)?;
        self.unified(resources)
    }

    /// Limits of huge pages, where 0 means none; what is reserved counts too (Linux 5.7).
    fn huge_pages(&mut self, resources: &Resources) {
        let suffix = if self.version == Version::V1 { "limit_in_bytes" } else { "max" };
        for (index, huge) in resources.hugepage_limits.iter().enumerate() {
            let from = Pointer::at("/linux/resources/hugepageLimits/#", index);
            let size = &huge.page_size;
            self.add(from, &HUGE_PAGES, huge.limit.to_string()).name = format!("hugetlb.{size}.{suffix}").into();
            let reserved = self.add(from, &HUGE_PAGES, huge.limit.to_string());
            reserved.name = format!("hugetlb.{size}.rsvd.{suffix}").into();
            reserved.otherwise = Otherwise::Skip;
        }
    }

    fn rdma(&mut self, resources: &Resources) {
        for (device, rdma) in &resources.rdma {
            let limit =
                |name: &str, limit: Option<u32>| limit.map_or(String::new(), |limit| format!(" {name}={limit}"));
            let limits = limit("hca_handle", rdma.0.hca_handles) + &limit("hca_object", rdma.0.hca_objects);
            if !limits.is_empty() {
                self.add(Pointer::new("/linux/resources/rdma"), &RDMA, format!("{device}{limits}"));
            }
        }
    }

    fn priorities(&mut self, resources: &Resources) -> Result<()> {
        for (index, link) in resources.network.priorities.iter().enumerate() {
            let from = Pointer::at("/linux/resources/network/priorities/#", index);
            if self.version == Version::V2 {
                return Err(Error::new(NO_MARKS).from_property(from));
            }
            self.add(from, &NET_PRIORITY, format!("{} {}", link.name, link.priority));
        }
        Ok(())
    }

    fn unified(&mut self, resources: &Resources) -> Result<()> {
        if self.version == Version::V1 && !resources.unified.is_empty() {
            let message = "cannot use unified on cgroup v1: its keys are files of v2";
            return Err(Error::new(message).from_property("/linux/resources/unified"));
        }
        for (key, value) in &resources.unified {
            let (name, value, otherwise) = (Cow::Owned(key.clone()), value.clone(), Otherwise::Fail);
            self.writes.push(Write { from: UNIFIED, name, file: file_named(key), value, otherwise });
        }
        Ok(())
    }
}
