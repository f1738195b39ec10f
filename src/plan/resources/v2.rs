//! The files of cgroup v2: Documentation/admin-guide/cgroup-v2.rst of the kernel.

use super::convert::{io_weight, swap, weight_of_shares};
use super::{For, Writes, common, huge_pages, refuse, set, throttles};
use crate::bundle::resources::{BlockIo, Cpu, Memory, Network, Resources};
use crate::cgroup::write::{Otherwise, UNIFIED, Write};
use crate::error::Result;
use crate::pointer::Pointer;

/// What is written for `linux.resources`; `unified` is last, and so has the last word.
///
/// # Errors
/// What v2 has not.
pub fn writes(resources: &Resources, purpose: For) -> Result<Writes> {
    let mut list = Writes::default();
    memory(&resources.memory, &mut list)?;
    cpu(&resources.cpu, purpose, &mut list)?;
    common(resources, &mut list);
    block_io(&resources.block_io, &mut list)?;
    for (from, _, key, devices) in throttles(resources) {
        for (index, device) in devices.iter().enumerate() {
            let rate = if device.rate == 0 { "max".to_owned() } else { device.rate.to_string() };
            let value = format!("{}:{} {key}={rate}", device.major, device.minor);
            list.add_at(Pointer::at(from, index), "io", "io.max", value);
        }
    }
    huge_pages(resources, &mut list, "max");
    network(&resources.network)?;
    for (key, value) in &resources.unified {
        let controller = key.split('.').next().unwrap_or_default().to_owned();
        let (file, value) = (key.clone().into(), value.clone());
        list.writes.push(Write {
            from: UNIFIED,
            controller: controller.into(),
            file,
            value,
            otherwise: Otherwise::Fail,
        });
    }
    Ok(list)
}

/// -1 in the words of v2.
fn or_max(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}

fn memory(memory: &Memory, list: &mut Writes) -> Result<()> {
    let limit = set(memory.limit);
    // As on v1: without a limit on memory there is none on swap either, if none is asked for.
    let implied = limit == Some(-1) && set(memory.swap).is_none();
    if let Some(total) = if implied { Some(-1) } else { set(memory.swap) } {
        let from = if implied { "/linux/resources/memory/limit" } else { "/linux/resources/memory/swap" };
        let alone = swap(total, limit).map_err(|message| refuse(from, message))?;
        let write = list.add(from, "memory", "memory.swap.max", or_max(alone));
        // A kernel that counts no swap has no such file.
        if alone <= 0 {
            write.otherwise = Otherwise::Skip;
        }
    }
    if let Some(limit) = limit {
        list.add("/linux/resources/memory/limit", "memory", "memory.max", or_max(limit));
    }
    if let Some(reservation) = set(memory.reservation) {
        list.add("/linux/resources/memory/reservation", "memory", "memory.low", or_max(reservation));
    }
    if set(memory.kernel).is_some() {
        list.warn("/linux/resources/memory/kernel", "memory.kernel is ignored: cgroup v2 counts it with the rest");
    }
    if set(memory.kernel_tcp).is_some() {
        let message = "memory.kernelTCP is ignored: cgroup v2 counts it with the rest";
        list.warn("/linux/resources/memory/kernelTCP", message);
    }
    if memory.swappiness.is_some() {
        return Err(refuse("/linux/resources/memory/swappiness", "cgroup v2 has no swappiness of a cgroup"));
    }
    if memory.disable_oom_killer == Some(true) {
        let message = "cgroup v2 has no way to disable the OOM killer";
        return Err(refuse("/linux/resources/memory/disableOOMKiller", message));
    }
    Ok(())
}

fn cpu(cpu: &Cpu, purpose: For, list: &mut Writes) -> Result<()> {
    for (from, asked) in [
        ("/linux/resources/cpu/realtimeRuntime", set(cpu.realtime_runtime).is_some()),
        ("/linux/resources/cpu/realtimePeriod", set(cpu.realtime_period).is_some()),
    ] {
        if asked {
            return Err(refuse(from, "cgroup v2 has no limits of real-time"));
        }
    }
    let after = |value: Option<String>, file| value.map_or(Otherwise::Fail, |value| Otherwise::After(file, value));
    let idle = cpu.idle.filter(|idle| *idle != 0 || purpose == For::Update);
    if let Some(shares) = set(cpu.shares) {
        let write = list.add("/linux/resources/cpu/shares", "cpu", "cpu.weight", weight_of_shares(shares));
        write.otherwise = after(idle.map(|idle| idle.to_string()), "cpu.idle");
    }
    let burst = cpu.burst.filter(|burst| *burst != 0 || purpose == For::Update);
    let (quota, period) = (set(cpu.quota), set(cpu.period));
    if quota.is_some() || period.is_some() {
        let from = if quota.is_some() { "/linux/resources/cpu/quota" } else { "/linux/resources/cpu/period" };
        let value = format!("{} {}", or_max(quota.unwrap_or(-1)), period.unwrap_or(100_000));
        list.add(from, "cpu", "cpu.max", value).otherwise =
            after(burst.map(|burst| burst.to_string()), "cpu.max.burst");
    }
    if let Some(burst) = burst {
        list.add("/linux/resources/cpu/burst", "cpu", "cpu.max.burst", burst);
    }
    if let Some(idle) = idle {
        list.add("/linux/resources/cpu/idle", "cpu", "cpu.idle", idle);
    }
    Ok(())
}

/// The weights: those of BFQ where the kernel has it, else those of its I/O cost model.
fn block_io(io: &BlockIo, list: &mut Writes) -> Result<()> {
    const MESSAGE: &str = "cgroup v2 has no leafWeight";
    if let Some(weight) = set(io.weight) {
        let write = list.add("/linux/resources/blockIO/weight", "io", "io.bfq.weight", weight);
        write.otherwise = Otherwise::Instead("io.weight", io_weight(weight).to_string());
    }
    if set(io.leaf_weight).is_some() {
        return Err(refuse("/linux/resources/blockIO/leafWeight", MESSAGE));
    }
    for (index, device) in io.weight_device.iter().enumerate() {
        let number = format!("{}:{}", device.major, device.minor);
        if let Some(weight) = set(device.weight) {
            let from = Pointer::at("/linux/resources/blockIO/weightDevice/#/weight", index);
            let write = list.add_at(from, "io", "io.bfq.weight", format!("{number} {weight}"));
            write.otherwise = Otherwise::Instead("io.weight", format!("{number} {}", io_weight(weight)));
        }
        if set(device.leaf_weight).is_some() {
            let from = Pointer::at("/linux/resources/blockIO/weightDevice/#/leafWeight", index);
            return Err(refuse(&from.to_string(), MESSAGE));
        }
    }
    Ok(())
}

fn network(network: &Network) -> Result<()> {
    let message = "cgroup v2 has no marks on network traffic";
    if set(network.class_id).is_some() {
        return Err(refuse("/linux/resources/network/classID", message));
    }
    if !network.priorities.is_empty() {
        let from = Pointer::at("/linux/resources/network/priorities/#", 0);
        return Err(refuse(&from.to_string(), message));
    }
    Ok(())
}
