//! `ferrun features`: what ferrun can do, for engines: features.md of the OCI runtime spec. Every list comes from the
//! reader of config.json; anything that a list cannot express is a constant beside the code that does it.

use clap::Args;
use serde_json::{Value, json};

use super::Command;
use super::globals::Globals;
use super::report::print_out;
use super::version::{COMMIT, SPEC};
use crate::bundle::hooks::Hooks;
use crate::bundle::names::{properties, variants};
use crate::bundle::seccomp_names::{ACTIONS, FLAGS, OPERATORS, architectures};
use crate::error::{Error, Result};
use crate::types::capabilities;
use crate::types::mount_options::OPTIONS;
use crate::types::namespaces::NamespaceKind;
use crate::types::scheduling::{MemoryFlag, MemoryMode};
use crate::types::seccomp::Arch;

/// The oldest version of the specification whose bundles are run.
const OLDEST: &str = "1.0.0";

/// Whether systemd can make the cgroups: set it together with what --systemd-cgroup does (globals.rs).
const SYSTEMD: bool = true;

/// Whether a user's own systemd can.
const SYSTEMD_USER: bool = false;

/// Whether `linux.resources.rdma` is honoured.
const RDMA: bool = true;

/// Annotations that change what is done: properties of the unit that systemd makes. An engine should not
/// take them from those whom it does not trust.
const UNSAFE_ANNOTATIONS: &[&str] = &["org.systemd.property."];

/// Tells what ferrun can do.
#[derive(Args, Debug)]
pub struct Features {}

impl Command for Features {
    const NAME: &'static str = "features";
    const ABOUT: &'static str = "Print what ferrun can do, as JSON: the features document of the OCI runtime spec";

    fn run(self, _globals: &Globals) -> Result<i32> {
        let text = serde_json::to_string_pretty(&features()).map_err(|error| Error::new(error.to_string()))?;
        print_out(&(text + "\n"))?;
        Ok(0)
    }
}

/// The document. Nothing in it depends on the host, as the specification wants it.
fn features() -> Value {
    json!({
        "ociVersionMin": OLDEST,
        "ociVersionMax": SPEC,
        "hooks": properties::<Hooks>(),
        "mountOptions": names(OPTIONS),
        "linux": linux(),
        "annotations": {
            "ferrun.version": env!("CARGO_PKG_VERSION"),
            "ferrun.commit": COMMIT.unwrap_or("unknown"),
        },
        "potentiallyUnsafeConfigAnnotations": UNSAFE_ANNOTATIONS,
    })
}

fn linux() -> Value {
    json!({
        "namespaces": sorted(NamespaceKind::ALL.iter().map(ToString::to_string)),
        "capabilities": capabilities::all(),
        "cgroup": { "v1": true, "v2": true, "systemd": SYSTEMD, "systemdUser": SYSTEMD_USER, "rdma": RDMA },
        "seccomp": {
            // Without a table of this machine's calls every profile is refused.
            "enabled": Arch::NATIVE.is_some(),
            "actions": names(ACTIONS),
            "operators": names(OPERATORS),
            "archs": sorted(architectures()),
            "knownFlags": names(FLAGS),
            "supportedFlags": names(FLAGS),
        },
        "apparmor": { "enabled": true },
        "selinux": { "enabled": true },
        "intelRdt": { "enabled": true, "schemata": true, "monitoring": true },
        "memoryPolicy": { "modes": variants::<MemoryMode>(), "flags": variants::<MemoryFlag>() },
        "mountExtensions": { "idmap": { "enabled": true } },
        "netDevices": { "enabled": true },
    })
}

fn names<T>(table: &[(&'static str, T)]) -> Vec<&'static str> {
    table.iter().map(|(name, _)| *name).collect()
}

fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}
