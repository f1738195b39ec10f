//! `linux.resources` → what is written where, for a start and for `update`. Pure: what the kernel makes
//! of it is told by the step.
//!
//! A walk over the table of limits (bundle/limits), then the limits that are lists of names.

mod lists;

use std::borrow::Cow;

use crate::bundle::limits::{Asked, Device, On, Place, Row, TABLE, Version, Zero, row_of};
use crate::bundle::resources::Resources;
use crate::cgroup::write::{Otherwise, Write};
use crate::error::{Error, Result};
use crate::pointer::Pointer;
use crate::types::limits::File;

/// What the writes are for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum For {
    /// A new cgroup: what it has anyway is not written.
    Start,
    /// One that is in use.
    Update,
}

/// The writes for a hierarchy, and what is left out.
#[derive(Debug)]
pub struct Writes {
    /// In order.
    pub writes: Vec<Write>,
    /// Properties that no kernel honours any more.
    pub warnings: Vec<Error>,
    version: Version,
    purpose: For,
}

/// The property of the first limit beside those of devices, if there is any.
pub fn first_limit(resources: &Resources) -> Option<String> {
    match writes(resources, Version::V1, For::Start) {
        Ok(list) => list.writes.first().map(Write::pointer),
        Err(error) => error.pointer.map(String::from),
    }
}

/// The writes for `linux.resources`; on v2 `unified` is last, and so has the last word.
///
/// # Errors
/// A limit that this version lacks, and shares that v1 would change without a word.
pub fn writes(resources: &Resources, version: Version, purpose: For) -> Result<Writes> {
    let mut list = Writes { writes: Vec::new(), warnings: Vec::new(), version, purpose };
    TABLE.iter().try_for_each(|row| list.add_row(row, resources))?;
    list.add_lists(resources)?;
    Ok(list)
}

impl Writes {
    fn is_update(&self) -> bool {
        self.purpose == For::Update
    }

    fn add_row(&mut self, row: &'static Row, resources: &Resources) -> Result<()> {
        if let (Asked::Set(asked), On::File(place)) = (&row.asked, row.on(self.version)) {
            let set = asked(resources);
            if !set.is_empty() {
                self.add(Pointer::new(row.from), &place.file, set.to_owned());
            }
        }
        row.values(resources, self.is_update()).try_for_each(|(index, device, value)| {
            let from = Pointer::at(row.from, index);
            self.add_number(row, from, value, device, resources).map_err(|error| error.from_property(from))
        })
    }

    fn add_number(
        &mut self,
        row: &'static Row,
        from: Pointer,
        number: i128,
        device: Option<Device>,
        resources: &Resources,
    ) -> Result<()> {
        let place = match row.on(self.version) {
            On::File(place) => place,
            On::Refused(_) if row.zero == Zero::Initial && number == 0 => return Ok(()),
            On::Refused(message) => return Err(Error::new(*message)),
            On::Ignored(message) => {
                self.warnings.push(Error::new(*message).from_property(from));
                return Ok(());
            }
        };
        let line = |place: &Place| {
            let text = (place.value)(number, resources).map_err(Error::new)?;
            Ok(text.map(|text| match device {
                Some((major, minor)) => format!("{major}:{minor} {}{text}", place.key),
                None => text,
            }))
        };
        let Some(value) = line(place)? else { return Ok(()) };
        let otherwise = match place.instead {
            _ if (place.optional)(resources) => Otherwise::Skip,
            Some(instead) => Otherwise::Instead(&instead.file, line(instead)?.unwrap_or_default()),
            None => self.after(place.after, resources).unwrap_or(Otherwise::Fail),
        };
        let before = self.writes.iter().position(|write| write.from == Pointer::new(place.before));
        let write = Write { from, name: Cow::Borrowed(place.file.name), file: &place.file, value, otherwise };
        self.writes.insert(before.unwrap_or(self.writes.len()), write);
        Ok(())
    }

    /// The write of another property, if a config asks for that as well.
    fn after(&self, property: &str, resources: &Resources) -> Option<Otherwise> {
        let row = row_of(property)?;
        let On::File(place) = row.on(self.version) else { return None };
        let (_, _, number) = row.values(resources, self.is_update()).next()?;
        Some(Otherwise::After(&place.file, (place.value)(number, resources).ok()??))
    }

    fn add(&mut self, from: Pointer, file: &'static File, value: String) -> &mut Write {
        let (name, otherwise) = (Cow::Borrowed(file.name), Otherwise::Fail);
        self.writes.push(Write { from, name, file, value, otherwise });
        self.writes.last_mut().expect("it was pushed just now")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The writes for a config, as `file value`; a leading `?`: the file may be missing.
    pub fn lines(list: &Writes) -> Vec<String> {
        let line = |Write { name, value, otherwise, .. }: &Write| match otherwise {
            Otherwise::Fail => format!("{name} {value}"),
            Otherwise::Skip => format!("?{name} {value}"),
            Otherwise::Instead(file, instead) => format!("{name} {value} or {} {instead}", file.name),
            Otherwise::After(file, first) => format!("{name} {value} after {} {first}", file.name),
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
            &["memory.limit_in_bytes 100 after memory.memsw.limit_in_bytes 300", "memory.memsw.limit_in_bytes 300"],
            &["memory.swap.max 200", "memory.max 100"],
        ),
        (
            r#"{"memory":{"limit":100,"swap":100}}"#,
            &["memory.limit_in_bytes 100 after memory.memsw.limit_in_bytes 100", "memory.memsw.limit_in_bytes 100"],
            &["?memory.swap.max 0", "memory.max 100"],
        ),
        (
            r#"{"memory":{"limit":100,"swap":-1}}"#,
            &["memory.limit_in_bytes 100 after memory.memsw.limit_in_bytes -1", "memory.memsw.limit_in_bytes -1"],
            &["?memory.swap.max max", "memory.max 100"],
        ),
        (
            r#"{"memory":{"limit":-1}}"#,
            &["memory.limit_in_bytes -1 after memory.memsw.limit_in_bytes -1", "?memory.memsw.limit_in_bytes -1"],
            &["?memory.swap.max max", "memory.max max"],
        ),
        (
            r#"{"memory":{"limit":-1,"swap":50}}"#,
            &["memory.limit_in_bytes -1 after memory.memsw.limit_in_bytes 50", "memory.memsw.limit_in_bytes 50"],
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
            &[
                "cpu.cfs_period_us 50000 after cpu.cfs_quota_us 20000",
                "cpu.cfs_quota_us 20000 after cpu.cfs_burst_us 1000",
                "cpu.cfs_burst_us 1000",
            ],
            &["cpu.max 20000 50000 after cpu.max.burst 1000", "cpu.max.burst 1000"],
        ),
        (
            r#"{"cpu":{"period":50000,"burst":1000}}"#,
            &["cpu.cfs_period_us 50000", "cpu.cfs_burst_us 1000"],
            &["cpu.max max 50000 after cpu.max.burst 1000", "cpu.max.burst 1000"],
        ),
        (
            r#"{"cpu":{"shares":512,"idle":1}}"#,
            &["cpu.shares 512 after cpu.idle 1", "cpu.idle 1"],
            &["cpu.weight 59 after cpu.idle 1", "cpu.idle 1"],
        ),
        (
            r#"{"cpu":{"realtimeRuntime":10,"realtimePeriod":20}}"#,
            &["cpu.rt_period_us 20 after cpu.rt_runtime_us 10", "cpu.rt_runtime_us 10"],
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
        (
            r#"{"blockIO":{"weight":10}}"#,
            &["blkio.weight 10 or blkio.bfq.weight 10"],
            &["io.bfq.weight 10 or io.weight 1"],
        ),
        (r#"{"blockIO":{"leafWeight":10}}"#, &["blkio.leaf_weight 10"], &["/linux/resources/blockIO/leafWeight"]),
        (
            r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0},{"major":8,"minor":16,"weight":500}]}}"#,
            &["blkio.weight_device 8:16 500 or blkio.bfq.weight_device 8:16 500"],
            &["io.bfq.weight 8:16 500 or io.weight 8:16 4950"],
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
            assert_eq!(told(writes(&resources, Version::V1, For::Start)), *on_v1, "v1 {config}");
            assert_eq!(told(writes(&resources, Version::V2, For::Start)), *on_v2, "v2 {config}");
        }
    }

    #[test]
    fn an_update_writes_zeros_that_a_start_need_not() {
        let resources = resources(r#"{"memory":{"disableOOMKiller":false},"cpu":{"idle":0,"burst":0}}"#);
        let update = lines(&writes(&resources, Version::V1, For::Update).unwrap());
        assert_eq!(update, ["memory.oom_control 0", "cpu.cfs_burst_us 0", "cpu.idle 0"]);
        assert_eq!(lines(&writes(&resources, Version::V2, For::Update).unwrap()), ["cpu.max.burst 0", "cpu.idle 0"]);
    }

    #[test]
    fn what_no_kernel_honours_is_told() {
        let resources = resources(r#"{"memory":{"kernel":1,"kernelTCP":1}}"#);
        let warned = |list: Writes| list.warnings.iter().map(|one| one.pointer.clone().unwrap()).collect::<Vec<_>>();
        let (kernel, tcp) = ("/linux/resources/memory/kernel".into(), "/linux/resources/memory/kernelTCP".into());
        assert_eq!(warned(writes(&resources, Version::V1, For::Start).unwrap()), std::slice::from_ref(&kernel));
        assert_eq!(warned(writes(&resources, Version::V2, For::Start).unwrap()), [kernel, tcp]);
    }
}
