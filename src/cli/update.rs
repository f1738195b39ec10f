//! `ferrun update`.

use std::path::PathBuf;

use clap::Args;

use super::globals::{Container, Globals};
use super::{Command, report};
use crate::bundle::resources::Resources;
use crate::bundle::{check_resources, is_config, read_named, read_resources, read_stream, unknown_resources, within};
use crate::container::update;
use crate::error::{Context, Error, Result};

/// Changes the limits of a container. Sizes may end in k, m, g or t.
#[derive(Args, Debug)]
pub struct Update {
    #[command(flatten)]
    container: Container,
    /// File with the limits as linux.resources has them, or - for standard input; most other flags then do nothing
    #[arg(short, long, value_name = "FILE")]
    resources: Option<PathBuf>,
    /// Weight on disks, from 10 to 1000
    #[arg(long, value_name = "WEIGHT", default_value_t = 0)]
    blkio_weight: u16,
    /// Period of the CPU quota in microseconds
    #[arg(long, value_name = "TIME")]
    cpu_period: Option<u64>,
    /// CPU time in a period, in microseconds; -1: without limit
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    cpu_quota: Option<i64>,
    /// What may be saved up of the quota, in microseconds
    #[arg(long, value_name = "TIME")]
    cpu_burst: Option<u64>,
    /// Weight on the CPUs, from 2 to 262144
    #[arg(long, value_name = "SHARES")]
    cpu_share: Option<u64>,
    /// Period of the real-time limit in microseconds
    #[arg(long, value_name = "TIME")]
    cpu_rt_period: Option<u64>,
    /// Real-time in such a period, in microseconds
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    cpu_rt_runtime: Option<i64>,
    /// CPUs, such as 0-3,7
    #[arg(long, value_name = "LIST", default_value = "")]
    cpuset_cpus: String,
    /// Memory nodes
    #[arg(long, value_name = "LIST", default_value = "")]
    cpuset_mems: String,
    /// Ignored, as by every kernel today
    #[arg(long, value_name = "SIZE", hide = true, allow_hyphen_values = true, value_parser = size)]
    kernel_memory: Option<i64>,
    /// TCP buffers on cgroup v1
    #[arg(long, value_name = "SIZE", hide = true, allow_hyphen_values = true, value_parser = size)]
    kernel_memory_tcp: Option<i64>,
    /// Memory; -1: without limit
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = size)]
    memory: Option<i64>,
    /// 1: run only when nothing else wants to
    #[arg(long, value_name = "0|1")]
    cpu_idle: Option<i64>,
    /// Memory that is left to the container when there is little
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = size)]
    memory_reservation: Option<i64>,
    /// Memory and swap together; -1: without limit
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = size)]
    memory_swap: Option<i64>,
    /// Number of processes; -1: without limit
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pids_limit: Option<i64>,
    /// Share of the L3 cache: a line for the schemata of the container's class
    #[arg(long, value_name = "LINE", default_value = "")]
    l3_cache_schema: String,
    /// Share of the memory bandwidth: another
    #[arg(long, value_name = "LINE", default_value = "")]
    mem_bw_schema: String,
}

impl Command for Update {
    const NAME: &'static str = "update";
    const ABOUT: &'static str = "Change the limits of a container";

    fn run(self, globals: &Globals) -> Result<i32> {
        let schemata = [&self.l3_cache_schema, &self.mem_bw_schema];
        let schemata: Vec<String> = schemata.into_iter().filter(|line| !line.is_empty()).cloned().collect();
        let (root, id) = (globals.root()?, self.container.id()?);
        let name = self.resources.as_ref().map_or_else(String::new, |path| path.display().to_string());
        let (text, resources) = self.wanted(&name)?;
        if text != NOTHING {
            if is_config(&text) {
                let name = if name == "-" { "standard input".into() } else { format!("{name:?}") };
                return Err(Error::new(format!("{name} holds a whole config.json")).hint("give linux.resources alone"));
            }
            report::warnings(&unknown_resources(&text, &name), globals);
        }
        let warnings = update(&root, &id, resources, &schemata)
            .map_err(|error| within("/linux/resources", error, &text, &name))?;
        report::warnings(&warnings, globals);
        Ok(0)
    }
}

/// The text of limits that came by flags.
const NOTHING: &[u8] = b"{}";

impl Update {
    /// The limits of the file, and its text; else those of the flags.
    fn wanted(self, name: &str) -> Result<(Vec<u8>, Resources)> {
        let Some(path) = self.resources else {
            let resources = self.of_flags();
            check_resources::check(&resources).map_err(|error| within("/linux/resources", error, NOTHING, name))?;
            return Ok((NOTHING.to_vec(), resources));
        };
        let text = match path.to_str() {
            Some("-") => read_stream(std::io::stdin()).what(|| "read standard input")?,
            _ => read_named(&path)?,
        };
        let resources = read_resources(&text, name)?;
        Ok((text, resources))
    }

    fn of_flags(self) -> Resources {
        let mut resources = Resources::default();
        let (memory, cpu) = (&mut resources.memory, &mut resources.cpu);
        memory.limit = self.memory;
        memory.reservation = self.memory_reservation;
        memory.swap = self.memory_swap;
        memory.kernel = self.kernel_memory;
        memory.kernel_tcp = self.kernel_memory_tcp;
        cpu.shares = self.cpu_share;
        cpu.quota = self.cpu_quota;
        cpu.period = self.cpu_period;
        cpu.burst = self.cpu_burst;
        cpu.realtime_runtime = self.cpu_rt_runtime;
        cpu.realtime_period = self.cpu_rt_period;
        cpu.cpus = self.cpuset_cpus;
        cpu.mems = self.cpuset_mems;
        cpu.idle = self.cpu_idle;
        resources.pids.limit = self.pids_limit;
        resources.block_io.weight = Some(self.blkio_weight);
        resources
    }
}

/// A size as engines and people write it: `512k`, `1.5g`, `10 MiB`; all units are powers of 1024.
fn size(text: &str) -> Result<i64> {
    let wrong = || Error::new(format!("{text:?} is no size like 4096, 512k or 1.5g"));
    if text == "-1" {
        return Ok(-1);
    }
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let shift = match unit.strip_suffix('b').unwrap_or(&unit) {
        "" => 0,
        "k" | "ki" => 10,
        "m" | "mi" => 20,
        "g" | "gi" => 30,
        "t" | "ti" => 40,
        "p" | "pi" => 50,
        _ => return Err(wrong()),
    };
    let too_large = || Error::new(format!("{text:?} is too large for a size"));
    // A whole number stays exact; 2^53 and more would not, as a fraction.
    if !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()) {
        let whole = number.parse::<i64>().ok().and_then(|whole| whole.checked_mul(1 << shift));
        return whole.ok_or_else(too_large);
    }
    let scaled = number.parse::<f64>().map_err(|_| wrong())? * f64::from(1 << 10).powi(shift / 10);
    // Of what is no `i64` a cast would make the largest, which the kernel reads as no limit.
    if scaled < i64::MAX as f64 { Ok(scaled as i64) } else { Err(too_large()) }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("-1", -1),
            ("0", 0),
            ("4096", 4096),
            ("512k", 512 << 10),
            ("1m", 1 << 20),
            ("1.5g", 3 << 29),
            ("10 MiB", 10 << 20),
            ("2KB", 2048),
            ("7b", 7),
            ("9223372036854771712", 9_223_372_036_854_771_712),
        ] {
            assert_eq!(size(text).ok(), Some(bytes), "{text}");
        }
        for wrong in ["", "-2", "k", "1x", "1mm", "1 2", "1.2.3", "1i", "1ii", "0x10", "9223372036854775807k", "."] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
        for large in
            ["100000000000000000000", "9223372036854775808", "9223372036854775807.5", "8192p", "8192.0p", "1e30"]
        {
            crate::golden::compare(&size(large).unwrap_err().to_string());
        }
    }
}
