//! What it costs to read, check and compile a bundle: `explain --cost`. The first time is that of a start:
//! nothing of ferrun's code has been used yet, no memory been touched.

use std::fmt::Write;
use std::path::Path;

use nix::time::{ClockId, clock_gettime};

use crate::bundle;
use crate::error::{Context, Result};
use crate::plan::{self, Host, Options};

/// CPU time in nanoseconds: of [`bundle::load`], of the look at the host, of [`plan::compile`].
type Cost = [i64; 3];

/// The first time, and the medians of the others. The sum leaves the look at the host out.
pub fn table(dir: &Path, options: &Options, times: usize) -> Result<String> {
    let cold = measure(dir, options)?;
    let warm = (0..times).map(|_| measure(dir, options)).collect::<Result<Vec<_>>>()?;
    let mut text = format!("{:<5}{:>14}{:>14}{:>14}{:>17}\n", "µs", "read, check", "host", "compile", "without host");
    row(&mut text, "cold", cold);
    if !warm.is_empty() {
        row(&mut text, "warm", std::array::from_fn(|part| median(warm.iter().map(|cost| cost[part]).collect())));
    }
    Ok(text)
}

fn row(text: &mut String, name: &str, [read, host, compile]: Cost) {
    let us = |ns: i64| format!("{:.1}", ns as f64 / 1000.0);
    let _ = writeln!(text, "{name:<4}{:>14}{:>14}{:>14}{:>17}", us(read), us(host), us(compile), us(read + compile));
}

fn measure(dir: &Path, options: &Options) -> Result<Cost> {
    let begin = now()?;
    let bundle = bundle::load(dir)?;
    let read = now()?;
    let host = Host::for_spec(&bundle.spec)?;
    let probed = now()?;
    let plan = plan::compile(&bundle, &host, options).map_err(|error| bundle.locate(error))?;
    let compiled = now()?;
    drop((bundle, plan));
    Ok([read - begin, probed - read, compiled - probed])
}

fn now() -> Result<i64> {
    let time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).what(|| "read the CPU time")?;
    Ok(time.tv_sec() * 1_000_000_000 + time.tv_nsec())
}

fn median(mut values: Vec<i64>) -> i64 {
    values.sort_unstable();
    values[values.len() / 2]
}
