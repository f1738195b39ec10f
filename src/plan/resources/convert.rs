//! Values of cgroup v1, which the specification is written for, as v2 counts them.

/// `cpu.shares` as `cpu.weight`: 2 → 1, 1024 → 100, 262144 → 10000, and between them the curve that runc,
/// crun and systemd agreed on in 2025.
pub fn weight_of_shares(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            10f64.powf(exponent).ceil() as u64
        }
    }
}

/// `blkio.weight`, from 10 to 1000, as `io.weight`, from 1 to 10000: linear, as runc and crun have it.
pub fn io_weight(weight: u16) -> u64 {
    1 + u64::from(weight.saturating_sub(10)) * 9999 / 990
}

/// Memory and swap together as swap alone; -1 is without limit, for memory as well.
///
/// # Errors
/// What does not go together.
pub fn swap(total: i64, memory: Option<i64>) -> Result<i64, &'static str> {
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
        for (shares, weight) in [(2, 1), (1024, 100), (262_144, 10_000), (512, 59), (4096, 303)] {
            assert_eq!(weight_of_shares(shares), weight, "{shares}");
        }
        for (blkio, io) in [(10, 1), (100, 910), (500, 4950), (1000, 10_000)] {
            assert_eq!(io_weight(blkio), io, "{blkio}");
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
