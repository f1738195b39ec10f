//! The files of cgroup v1.

use super::{For, Writes, common, huge_pages, refuse, set, throttles};
use crate::bundle::resources::{BlockIo, Cpu, Memory, Network, Resources};
use crate::cgroup::write::Otherwise;
use crate::error::Result;
use crate::pointer::Pointer;

/// What is written for `linux.resources`.
///
/// # Errors
/// What v1 has not, and shares that it would change without a word.
pub fn writes(resources: &Resources, purpose: For) -> Result<Writes> {
    let mut list = Writes::default();
    memory(&resources.memory, purpose, &mut list);
    cpu(&resources.cpu, purpose, &mut list)?;
    common(resources, &mut list);
    block_io(&resources.block_io, &mut list);
    for (from, file, _, devices) in throttles(resources) {
        for (index, device) in devices.iter().enumerate() {
            let value = format!("{}:{} {}", device.major, device.minor, device.rate);
            list.add_at(Pointer::at(from, index), "blkio", file, value);
        }
    }
    huge_pages(resources, &mut list, "limit_in_bytes");
    network(&resources.network, &mut list);
    if !resources.unified.is_empty() {
        return Err(refuse("/linux/resources/unified", "cannot use unified on cgroup v1: its keys are files of v2"));
    }
    Ok(list)
}

fn memory(memory: &Memory, purpose: For, list: &mut Writes) {
    const MEMSW: &str = "memory.memsw.limit_in_bytes";
    let limit = set(memory.limit);
    // Without a limit on memory there is none on both either, if none is asked for.
    let implied = limit == Some(-1) && set(memory.swap).is_none();
    let swap = if implied { Some(-1) } else { set(memory.swap) };
    if let Some(limit) = limit {
        let write = list.add("/linux/resources/memory/limit", "memory", "memory.limit_in_bytes", limit);
        if let Some(swap) = swap {
            write.otherwise = Otherwise::After(MEMSW, swap.to_string());
        }
    }
    if let Some(swap) = swap {
        let from = if implied { "/linux/resources/memory/limit" } else { "/linux/resources/memory/swap" };
        let write = list.add(from, "memory", MEMSW, swap);
        if implied {
            write.otherwise = Otherwise::Skip;
        }
    }
    if let Some(reservation) = set(memory.reservation) {
        list.add("/linux/resources/memory/reservation", "memory", "memory.soft_limit_in_bytes", reservation);
    }
    if set(memory.kernel).is_some() {
        list.warn("/linux/resources/memory/kernel", "memory.kernel is ignored: Linux has no such limit since 5.16");
    }
    if let Some(tcp) = set(memory.kernel_tcp) {
        list.add("/linux/resources/memory/kernelTCP", "memory", "memory.kmem.tcp.limit_in_bytes", tcp);
    }
    if let Some(disable) = memory.disable_oom_killer.filter(|disable| *disable || purpose == For::Update) {
        list.add("/linux/resources/memory/disableOOMKiller", "memory", "memory.oom_control", u8::from(disable));
    }
    if let Some(swappiness) = memory.swappiness {
        list.add("/linux/resources/memory/swappiness", "memory", "memory.swappiness", swappiness);
    }
}

fn cpu(cpu: &Cpu, purpose: For, list: &mut Writes) -> Result<()> {
    let text = |value: Option<String>, file| value.map_or(Otherwise::Fail, |value| Otherwise::After(file, value));
    let idle = cpu.idle.filter(|idle| *idle != 0 || purpose == For::Update);
    if let Some(shares) = set(cpu.shares) {
        // The kernel would take the nearest that it has.
        let from = "/linux/resources/cpu/shares";
        match shares {
            0..2 => return Err(refuse(from, "the minimum allowed cpu-shares is 2")),
            262_145.. => return Err(refuse(from, "the maximum allowed cpu-shares is 262144")),
            _ => {
                list.add(from, "cpu", "cpu.shares", shares).otherwise =
                    text(idle.map(|idle| idle.to_string()), "cpu.idle")
            }
        }
    }
    let (quota, period) = (set(cpu.quota), set(cpu.period));
    let burst = cpu.burst.filter(|burst| *burst != 0 || purpose == For::Update);
    // A quota of a period may not exceed the share of the cgroup above, nor the burst the quota.
    if let Some(period) = period {
        let write = list.add("/linux/resources/cpu/period", "cpu", "cpu.cfs_period_us", period);
        write.otherwise = text(quota.map(|quota| quota.to_string()), "cpu.cfs_quota_us");
    }
    if let Some(quota) = quota {
        let write = list.add("/linux/resources/cpu/quota", "cpu", "cpu.cfs_quota_us", quota);
        write.otherwise = text(burst.map(|burst| burst.to_string()), "cpu.cfs_burst_us");
    }
    if let Some(burst) = burst {
        list.add("/linux/resources/cpu/burst", "cpu", "cpu.cfs_burst_us", burst);
    }
    if let Some(idle) = idle {
        list.add("/linux/resources/cpu/idle", "cpu", "cpu.idle", idle);
    }
    let runtime = set(cpu.realtime_runtime);
    if let Some(period) = set(cpu.realtime_period) {
        let write = list.add("/linux/resources/cpu/realtimePeriod", "cpu", "cpu.rt_period_us", period);
        write.otherwise = text(runtime.map(|runtime| runtime.to_string()), "cpu.rt_runtime_us");
    }
    if let Some(runtime) = runtime {
        list.add("/linux/resources/cpu/realtimeRuntime", "cpu", "cpu.rt_runtime_us", runtime);
    }
    Ok(())
}

/// The weights; kernels have either those of the old CFQ or those of BFQ, or none.
fn block_io(io: &BlockIo, list: &mut Writes) {
    if let Some(weight) = set(io.weight) {
        let write = list.add("/linux/resources/blockIO/weight", "blkio", "blkio.weight", weight);
        write.otherwise = Otherwise::Instead("blkio.bfq.weight", weight.to_string());
    }
    if let Some(weight) = set(io.leaf_weight) {
        list.add("/linux/resources/blockIO/leafWeight", "blkio", "blkio.leaf_weight", weight);
    }
    for (index, device) in io.weight_device.iter().enumerate() {
        let value = |weight: u16| format!("{}:{} {weight}", device.major, device.minor);
        if let Some(weight) = set(device.weight) {
            let from = Pointer::at("/linux/resources/blockIO/weightDevice/#/weight", index);
            let write = list.add_at(from, "blkio", "blkio.weight_device", value(weight));
            write.otherwise = Otherwise::Instead("blkio.bfq.weight_device", value(weight));
        }
        if let Some(weight) = set(device.leaf_weight) {
            let from = Pointer::at("/linux/resources/blockIO/weightDevice/#/leafWeight", index);
            list.add_at(from, "blkio", "blkio.leaf_weight_device", value(weight));
        }
    }
}

fn network(network: &Network, list: &mut Writes) {
    if let Some(class) = set(network.class_id) {
        list.add("/linux/resources/network/classID", "net_cls", "net_cls.classid", class);
    }
    for (index, link) in network.priorities.iter().enumerate() {
        let from = Pointer::at("/linux/resources/network/priorities/#", index);
        list.add_at(from, "net_prio", "net_prio.ifpriomap", format!("{} {}", link.name, link.priority));
    }
}
