//! `ferrun explain`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::globals::Globals;
use super::report::{print_json, print_text};
use super::{Command, cost, report};
use crate::bundle::{self, Positions};
use crate::container::request::rootfs;
use crate::error::{Context, Error, Result};
use crate::escape;
use crate::plan::{self, Host, Options};
use crate::sys::regular;

/// Prints the plan of a bundle.
#[derive(Args, Debug)]
pub struct Explain {
    /// Directory with config.json
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    /// Print only the steps that this other bundle's plan has not (-), has more (+) or has otherwise (~)
    #[arg(long, value_name = "DIR", conflicts_with = "json")]
    diff: Option<PathBuf>,
    /// Plan for the host whose facts are in this file
    #[arg(long, value_name = "FILE")]
    host: Option<PathBuf>,
    /// Write the facts of this host that a plan depends on
    #[arg(long, value_name = "FILE", conflicts_with = "host")]
    save_host: Option<PathBuf>,
    /// Print only the CPU time that this takes, the first time and again N times
    #[arg(long, value_name = "N", conflicts_with_all = ["json", "diff", "host", "save_host"])]
    cost: Option<usize>,
}

impl Explain {
    /// The facts that the plan is made for.
    fn host(&self) -> Result<Host> {
        let Some(path) = &self.host else {
            let host = Host::probe()?;
            if let Some(path) = &self.save_host {
                let text = serde_json::to_vec_pretty(&host.clone().with_all_facts()?)
                    .map_err(|error| Error::new(error.to_string()))?;
                let what = || format!("write {path:?}");
                regular::create(path).what(what)?.write_all(&text).what(what)?;
            }
            return Ok(host);
        };
        let text = bundle::read_named(path)?;
        serde_json::from_slice(&text).map_err(|error| Error::new(format!("{path:?} does not describe a host: {error}")))
    }
}

impl Command for Explain {
    const NAME: &'static str = "explain";
    const ABOUT: &'static str = "Print what a start would do, step by step, without doing it";

    fn run(self, globals: &Globals) -> Result<i32> {
        let options = Options { id: "ID".into(), manager: globals.manager()?, ..Options::default() };
        if let Some(times) = self.cost {
            print_text(&cost::table(&self.bundle, &options, times)?)?;
            return Ok(0);
        }
        let host = self.host()?;
        let compile = |dir: &std::path::Path| {
            let bundle = bundle::load(dir)?;
            let host = if self.host.is_some() { host.clone() } else { host.clone().with_facts_for(&bundle.spec)? };
            let mut plan = plan::compile(&bundle, &host, &options).map_err(|error| bundle.locate(error))?;
            let remarks = std::mem::take(&mut plan.remarks);
            plan.warnings = bundle.locate_all(plan.warnings.into_iter().chain(remarks).collect());
            Ok::<_, Error>((bundle, plan))
        };
        let (bundle, plan) = compile(&self.bundle)?;
        if let Some(other) = &self.diff {
            print_text(&plan::diff::diff(&plan, &compile(other)?.1))?;
            return Ok(0);
        }
        let positions = Positions::new(&bundle.text);
        let config = bundle.dir.join("config.json");
        let (version, rootfs, cgroups) = (&bundle.spec.oci_version, rootfs(&bundle), host.cgroups.describe());
        if self.json {
            let mut data = plan::explain::json(&plan, &positions);
            data["config"] = json!(config);
            data["ociVersion"] = json!(version);
            data["rootfs"] = json!(rootfs);
            data["cgroups"] = json!(cgroups);
            let text = serde_json::to_string_pretty(&data).map_err(|error| Error::new(error.to_string()))?;
            print_json(&(text + "\n"))?;
            return Ok(0);
        }
        report::warnings(&bundle.warnings, globals);
        report::warnings(&plan.warnings, globals);
        let head = format!("{} · OCI {version} · rootfs {} · {cgroups}", config.display(), rootfs.display());
        let head = format!("{}\n\n", escape::part(&head));
        let value = serde_json::from_slice(&bundle.text).unwrap_or_default();
        let ignored = bundle::unknown::properties(&value);
        let ignored = ignored.iter().filter_map(|property| property.pointer.as_deref());
        let ignored: String =
            ignored.map(|pointer| format!("Ignored: {} (no such property)\n", escape::part(pointer))).collect();
        print_text(&(head + &plan::explain::text(&plan, &positions) + &ignored))?;
        Ok(0)
    }
}
