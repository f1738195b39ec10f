//! Values of limits in the words of the kernel's files: config.json has those of cgroup v1, which the specification is
//! written for.

use super::Converted;
use crate::bundle::resources::{Memory, Resources};

/// The number as it is.
pub fn plain(value: i128, _: &Resources) -> Converted {
    Ok(Some(value.to_string()))
}

/// -1 as v2 and `pids` spell it.
pub fn or_max(value: i128, _: &Resources) -> Converted {
    Ok(Some(max(value)))
}

/// The same; at least 1.
pub fn one_or_max(value: i128, _: &Resources) -> Converted {
    Ok(Some(max(if value == 0 { 1 } else { value })))
}

/// A rate, of which 0 is without limit.
pub fn rate(value: i128, _: &Resources) -> Converted {
    Ok(Some(max(if value == 0 { -1 } else { value })))
}

fn max(value: i128) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}

/// `cpu.shares` of v1, for which the kernel would take the nearest that it has.
pub fn shares(shares: i128, _: &Resources) -> Converted {
    match shares {
        ..2 => Err("the minimum allowed cpu-shares is 2"),
        262_145.. => Err("the maximum allowed cpu-shares is 262144"),
        _ => Ok(Some(shares.to_string())),
    }
}

/// `cpu.shares` as `cpu.weight`: 2 → 1, 1024 → 100, 262144 → 10000, and between them the curve that runc,
/// crun and systemd agreed on in 2025.
pub fn weight_of_shares(shares: i128, _: &Resources) -> Converted {
    let weight = match shares {
        ..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            10f64.powf(exponent).ceil() as u64
        }
    };
    Ok(Some(weight.to_string()))
}

/// `cpu.max`: quota and period.
pub fn cpu_max(_: i128, all: &Resources) -> Converted {
    let quota = all.cpu.quota.filter(|quota| *quota != 0).unwrap_or(-1);
    let period = all.cpu.period.filter(|period| *period != 0).unwrap_or(100_000);
    Ok(Some(format!("{} {period}", max(quota.into()))))
}

/// The same for the period, unless the row of the quota writes it.
pub fn period_v2(period: i128, all: &Resources) -> Converted {
    if all.cpu.quota.is_some_and(|quota| quota != 0) { Ok(None) } else { cpu_max(period, all) }
}

/// `blkio.weight`, from 10 to 1000, as `io.weight`, from 1 to 10000: linear, as runc and crun have it.
pub fn io_weight(weight: i128, _: &Resources) -> Converted {
    Ok(Some((1 + (weight - 10).max(0) * 9999 / 990).to_string()))
}

/// Memory and swap together; without a limit on memory there is none on both, if none is asked for.
pub fn total(memory: &Memory) -> Option<i64> {
    memory.swap.filter(|swap| *swap != 0).or(memory.limit.filter(|limit| *limit == -1))
}

/// Whether nobody asks for a limit on memory and swap but the missing one on memory.
pub fn is_implied(all: &Resources) -> bool {
    all.memory.swap.is_none_or(|swap| swap == 0)
}

/// Whether a kernel that counts no swap, and so has no file for it, does what is asked.
pub fn is_without_swap(all: &Resources) -> bool {
    let Memory { limit, swap, .. } = all.memory;
    total(&all.memory) == Some(-1) || swap == limit
}

/// Swap alone.
pub fn swap_v2(total: i128, all: &Resources) -> Converted {
    let memory = all.memory.limit.filter(|limit| *limit != 0);
    swap(total, memory.map(i128::from)).map(|alone| Some(max(alone)))
}

/// Memory and swap together as swap alone; -1 is without limit, for memory as well.
fn swap(total: i128, memory: Option<i128>) -> Result<i128, &'static str> {
    match memory {
        _ if total == -1 => Ok(-1),
        None => Err("cgroup v2 counts swap alone: a limit of memory and swap together needs a memory limit"),
        Some(-1) => Ok(total),
        Some(memory) if total < memory => Err("memory+swap limit should be >= memory limit"),
        Some(memory) => Ok(total - memory),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights() {
        let (none, text) = (Resources::default(), |value: Converted| value.unwrap().unwrap());
        for (shares, weight) in [(2, 1), (1024, 100), (262_144, 10_000), (512, 59), (4096, 303)] {
            assert_eq!(text(weight_of_shares(shares, &none)), weight.to_string(), "{shares}");
        }
        for (blkio, io) in [(10, 1), (100, 910), (500, 4950), (1000, 10_000)] {
            assert_eq!(text(io_weight(blkio, &none)), io.to_string(), "{blkio}");
        }
    }

    #[test]
    fn swap_alone() {
        for (total, memory, alone) in [
            (300, Some(100), Some(200)),
            (100, Some(100), Some(0)),
            (-1, Some(100), Some(-1)),
            (-1, None, Some(-1)),
            (50, Some(-1), Some(50)),
            (50, Some(100), None),
            (50, None, None),
        ] {
            assert_eq!(swap(total, memory).ok(), alone, "{total} {memory:?}");
        }
    }
}
