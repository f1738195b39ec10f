//! `linux.resources` → what is written where, for a start and for `update`. Pure: what the kernel makes
//! of it is told by the step.
//!
//! Engines write 0 for "not set", and -1 for "without limit". Where 0 is a value like any other it says
//! so at its place.

pub mod convert;
pub mod v1;
pub mod v2;

use std::borrow::Cow;

use crate::bundle::resources::{Resources, ThrottleDevice};
use crate::cgroup::write::{Otherwise, Write};
use crate::error::Error;
use crate::pointer::Pointer;

/// What the writes are for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum For {
    /// A new cgroup: what it has anyway is not written.
    Start,
    /// One that is in use.
    Update,
}

/// The writes for a hierarchy, and what is left out.
#[derive(Default, Debug)]
pub struct Writes {
    /// In order.
    pub writes: Vec<Write>,
    /// Properties that no kernel honours any more.
    pub warnings: Vec<Error>,
}

/// The property of the first limit beside those of devices, if there is any.
pub fn first_limit(resources: &Resources) -> Option<String> {
    match v1::writes(resources, For::Start) {
        Ok(list) => list.writes.first().map(Write::pointer),
        Err(error) => error.pointer.map(String::from),
    }
}

impl Writes {
    fn add(
        &mut self,
        from: &'static str,
        controller: &'static str,
        file: impl Into<Cow<'static, str>>,
        value: impl ToString,
    ) -> &mut Write {
        self.add_at(Pointer::new(from), controller, file, value)
    }

    #[allow(clippy::needless_pass_by_value)] // numbers stand here as they are
    fn add_at(
        &mut self,
        from: Pointer,
        controller: &'static str,
        file: impl Into<Cow<'static, str>>,
        value: impl ToString,
    ) -> &mut Write {
        let write = Write {
            from,
            controller: controller.into(),
            file: file.into(),
            value: value.to_string(),
            otherwise: Otherwise::Fail,
        };
        self.writes.push(write);
        self.writes.last_mut().expect("it was pushed just now")
    }

    fn warn(&mut self, from: &'static str, message: &str) {
        self.warnings.push(Error::new(message).from_property(from));
    }
}

/// 0 and absent are the same.
fn set<T: Default + PartialEq>(value: Option<T>) -> Option<T> {
    value.filter(|value| *value != T::default())
}

fn refuse(from: &str, message: impl Into<String>) -> Error {
    Error::new(message).from_property(from)
}

/// The four lists of rates: where each stands, what v1's file and v2's key is called.
fn throttles(resources: &Resources) -> [(&'static str, &'static str, &'static str, &[ThrottleDevice]); 4] {
    let io = &resources.block_io;
    [
        (
            "/linux/resources/blockIO/throttleReadBpsDevice/#",
            "blkio.throttle.read_bps_device",
            "rbps",
            &io.throttle_read_bps_device,
        ),
        (
            "/linux/resources/blockIO/throttleWriteBpsDevice/#",
            "blkio.throttle.write_bps_device",
            "wbps",
            &io.throttle_write_bps_device,
        ),
        (
            "/linux/resources/blockIO/throttleReadIOPSDevice/#",
            "blkio.throttle.read_iops_device",
            "riops",
            &io.throttle_read_iops_device,
        ),
        (
            "/linux/resources/blockIO/throttleWriteIOPSDevice/#",
            "blkio.throttle.write_iops_device",
            "wiops",
            &io.throttle_write_iops_device,
        ),
    ]
}

/// Those whose files are called the same on v1 and v2.
fn common(resources: &Resources, list: &mut Writes) {
    let cpu = &resources.cpu;
    if !cpu.cpus.is_empty() {
        list.add("/linux/resources/cpu/cpus", "cpuset", "cpuset.cpus", &cpu.cpus);
    }
    if !cpu.mems.is_empty() {
        list.add("/linux/resources/cpu/mems", "cpuset", "cpuset.mems", &cpu.mems);
    }
    // 0 is as good as 1, which systemd can be told, too: the container has its first process in any case.
    if let Some(limit) = resources.pids.limit {
        let value = if limit < 0 { "max".to_owned() } else { limit.max(1).to_string() };
        list.add("/linux/resources/pids/limit", "pids", "pids.max", value);
    }
    for (device, rdma) in &resources.rdma {
        let limit = |name: &str, limit: Option<u32>| limit.map_or(String::new(), |limit| format!(" {name}={limit}"));
        let limits = limit("hca_handle", rdma.0.hca_handles) + &limit("hca_object", rdma.0.hca_objects);
        if !limits.is_empty() {
            list.add("/linux/resources/rdma", "rdma", "rdma.max", format!("{device}{limits}"));
        }
    }
}

/// Limits of huge pages, where 0 means none; what is reserved counts too (Linux 5.7).
fn huge_pages(resources: &Resources, list: &mut Writes, file: &str) {
    for (index, huge) in resources.hugepage_limits.iter().enumerate() {
        let from = Pointer::at("/linux/resources/hugepageLimits/#", index);
        let size = &huge.page_size;
        list.add_at(from, "hugetlb", format!("hugetlb.{size}.{file}"), huge.limit);
        list.add_at(from, "hugetlb", format!("hugetlb.{size}.rsvd.{file}"), huge.limit).otherwise = Otherwise::Skip;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Result;

    /// What is written for a config, as `file value`, and a leading `?` for what may be missing.
    pub fn lines(list: &Writes) -> Vec<String> {
        let line = |write: &Write| {
            let mark = if write.otherwise == Otherwise::Skip { "?" } else { "" };
            format!("{mark}{} {}", write.file, write.value)
        };
        list.writes.iter().map(line).collect()
    }

    pub fn resources(json: &str) -> Resources {
        serde_json::from_str(json).unwrap()
    }

    /// Config, writes of v1, writes of v2; an error is its pointer.
    pub const TABLE: &[(&str, &[&str], &[&str])] = &[
        // What engines write for "not set".
        (
            r#"{"memory":{"limit":0,"swap":0,"reservation":0,"disableOOMKiller":false},"pids":{"limit":null},
                "cpu":{"shares":0,"quota":0,"period":0,"cpus":"","idle":0,"burst":0},"blockIO":{"weight":0},
                "hugepageLimits":[],"network":{"classID":0,"priorities":null},"rdma":{},"unified":null}"#,
            &[],
            &[],
        ),
        (r#"{"memory":{"limit":100}}"#, &["memory.limit_in_bytes 100"], &["memory.max 100"]),
        (
            r#"{"memory":{"limit":100,"swap":300}}"#,
            &["memory.limit_in_bytes 100", "memory.memsw.limit_in_bytes 300"],
            &["memory.swap.max 200", "memory.max 100"],
        ),
        (
            r#"{"memory":{"limit":100,"swap":100}}"#,
            &["memory.limit_in_bytes 100", "memory.memsw.limit_in_bytes 100"],
            &["?memory.swap.max 0", "memory.max 100"],
        ),
        (
            r#"{"memory":{"limit":100,"swap":-1}}"#,
            &["memory.limit_in_bytes 100", "memory.memsw.limit_in_bytes -1"],
            &["?memory.swap.max max", "memory.max 100"],
        ),
        (
            r#"{"memory":{"limit":-1}}"#,
            &["memory.limit_in_bytes -1", "?memory.memsw.limit_in_bytes -1"],
            &["?memory.swap.max max", "memory.max max"],
        ),
        (
            r#"{"memory":{"limit":-1,"swap":50}}"#,
            &["memory.limit_in_bytes -1", "memory.memsw.limit_in_bytes 50"],
            &["memory.swap.max 50", "memory.max max"],
        ),
        (r#"{"memory":{"swap":50}}"#, &["memory.memsw.limit_in_bytes 50"], &["/linux/resources/memory/swap"]),
        (r#"{"memory":{"reservation":7}}"#, &["memory.soft_limit_in_bytes 7"], &["memory.low 7"]),
        (r#"{"memory":{"reservation":-1}}"#, &["memory.soft_limit_in_bytes -1"], &["memory.low max"]),
        (r#"{"memory":{"kernel":7}}"#, &[], &[]),
        (r#"{"memory":{"kernelTCP":7}}"#, &["memory.kmem.tcp.limit_in_bytes 7"], &[]),
        (r#"{"memory":{"swappiness":0}}"#, &["memory.swappiness 0"], &["/linux/resources/memory/swappiness"]),
        (
            r#"{"memory":{"disableOOMKiller":true}}"#,
            &["memory.oom_control 1"],
            &["/linux/resources/memory/disableOOMKiller"],
        ),
        (r#"{"cpu":{"shares":512}}"#, &["cpu.shares 512"], &["cpu.weight 59"]),
        (r#"{"cpu":{"shares":1}}"#, &["/linux/resources/cpu/shares"], &["cpu.weight 1"]),
        (r#"{"cpu":{"shares":262145}}"#, &["/linux/resources/cpu/shares"], &["cpu.weight 10000"]),
        (r#"{"cpu":{"quota":5000}}"#, &["cpu.cfs_quota_us 5000"], &["cpu.max 5000 100000"]),
        (r#"{"cpu":{"quota":-1}}"#, &["cpu.cfs_quota_us -1"], &["cpu.max max 100000"]),
        (r#"{"cpu":{"period":50000}}"#, &["cpu.cfs_period_us 50000"], &["cpu.max max 50000"]),
        (
            r#"{"cpu":{"quota":20000,"period":50000,"burst":1000}}"#,
            &["cpu.cfs_period_us 50000", "cpu.cfs_quota_us 20000", "cpu.cfs_burst_us 1000"],
            &["cpu.max 20000 50000", "cpu.max.burst 1000"],
        ),
        (r#"{"cpu":{"shares":512,"idle":1}}"#, &["cpu.shares 512", "cpu.idle 1"], &["cpu.weight 59", "cpu.idle 1"]),
        (
            r#"{"cpu":{"realtimeRuntime":10,"realtimePeriod":20}}"#,
            &["cpu.rt_period_us 20", "cpu.rt_runtime_us 10"],
            &["/linux/resources/cpu/realtimeRuntime"],
        ),
        (
            r#"{"cpu":{"cpus":"0-1","mems":"0"}}"#,
            &["cpuset.cpus 0-1", "cpuset.mems 0"],
            &["cpuset.cpus 0-1", "cpuset.mems 0"],
        ),
        (r#"{"pids":{"limit":10}}"#, &["pids.max 10"], &["pids.max 10"]),
        (r#"{"pids":{"limit":0}}"#, &["pids.max 1"], &["pids.max 1"]),
        (r#"{"pids":{"limit":-1}}"#, &["pids.max max"], &["pids.max max"]),
        (r#"{"blockIO":{"weight":10}}"#, &["blkio.weight 10"], &["io.bfq.weight 10"]),
        (r#"{"blockIO":{"leafWeight":10}}"#, &["blkio.leaf_weight 10"], &["/linux/resources/blockIO/leafWeight"]),
        (
            r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0},{"major":8,"minor":16,"weight":500}]}}"#,
            &["blkio.weight_device 8:16 500"],
            &["io.bfq.weight 8:16 500"],
        ),
        (
            r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"leafWeight":10}]}}"#,
            &["blkio.leaf_weight_device 8:0 10"],
            &["/linux/resources/blockIO/weightDevice/0/leafWeight"],
        ),
        (
            r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":5}],
                "throttleWriteBpsDevice":[{"major":8,"minor":0,"rate":6}],
                "throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":7}],
                "throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":0}]}}"#,
            &[
                "blkio.throttle.read_bps_device 8:0 5",
                "blkio.throttle.write_bps_device 8:0 6",
                "blkio.throttle.read_iops_device 8:0 7",
                "blkio.throttle.write_iops_device 8:0 0",
            ],
            &["io.max 8:0 rbps=5", "io.max 8:0 wbps=6", "io.max 8:0 riops=7", "io.max 8:0 wiops=max"],
        ),
        (
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":0}]}"#,
            &["hugetlb.2MB.limit_in_bytes 0", "?hugetlb.2MB.rsvd.limit_in_bytes 0"],
            &["hugetlb.2MB.max 0", "?hugetlb.2MB.rsvd.max 0"],
        ),
        (r#"{"network":{"classID":1048577}}"#, &["net_cls.classid 1048577"], &["/linux/resources/network/classID"]),
        (
            r#"{"network":{"priorities":[{"name":"lo","priority":3}]}}"#,
            &["net_prio.ifpriomap lo 3"],
            &["/linux/resources/network/priorities/0"],
        ),
        (
            r#"{"rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":0},"mlx4_0":{}}}"#,
            &["rdma.max mlx5_1 hca_handle=3 hca_object=0"],
            &["rdma.max mlx5_1 hca_handle=3 hca_object=0"],
        ),
        (
            r#"{"unified":{"memory.high":"100","io.max":"8:0 rbps=1\n8:16 rbps=2"}}"#,
            &["/linux/resources/unified"],
            &["io.max 8:0 rbps=1\n8:16 rbps=2", "memory.high 100"],
        ),
    ];

    #[test]
    fn every_property_is_written_where_it_belongs() {
        let told = |result: Result<Writes>| match result {
            Ok(list) => lines(&list),
            Err(error) => vec![error.pointer.unwrap().to_string()],
        };
        for (config, on_v1, on_v2) in TABLE {
            let resources = resources(config);
            assert_eq!(told(v1::writes(&resources, For::Start)), *on_v1, "v1 {config}");
            assert_eq!(told(v2::writes(&resources, For::Start)), *on_v2, "v2 {config}");
        }
    }

    #[test]
    fn an_update_writes_zeros_that_a_start_need_not() {
        let resources = resources(r#"{"memory":{"disableOOMKiller":false},"cpu":{"idle":0,"burst":0}}"#);
        let update = lines(&v1::writes(&resources, For::Update).unwrap());
        assert_eq!(update, ["memory.oom_control 0", "cpu.cfs_burst_us 0", "cpu.idle 0"]);
        assert_eq!(lines(&v2::writes(&resources, For::Update).unwrap()), ["cpu.max.burst 0", "cpu.idle 0"]);
    }

    #[test]
    fn what_no_kernel_honours_is_told() {
        let resources = resources(r#"{"memory":{"kernel":1,"kernelTCP":1}}"#);
        let warned = |list: Writes| list.warnings.iter().map(|one| one.pointer.clone().unwrap()).collect::<Vec<_>>();
        let (kernel, tcp) = ("/linux/resources/memory/kernel".into(), "/linux/resources/memory/kernelTCP".into());
        assert_eq!(warned(v1::writes(&resources, For::Start).unwrap()), std::slice::from_ref(&kernel));
        assert_eq!(warned(v2::writes(&resources, For::Start).unwrap()), [kernel, tcp]);
    }
}
