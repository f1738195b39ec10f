//! New device rules for an existing container.
//!
//! Engines that change one limit give all resources of the container again, its device rules as well. Those
//! that it has already are left alone: someone else may have added to them, as tools that add GPUs do.

use std::rc::Rc;

use super::directory::StateDirectory;
use super::state::{DEVICES, State};
use crate::bundle;
use crate::bundle::resources::Resources;
use crate::cgroup::controllers::Controllers;
use crate::cgroup::devices::access::{Conflict, DeviceAccess};
use crate::cgroup::devices::filter::{self, Replaced};
use crate::cgroup::devices::{DevicesV1, DevicesV2};
use crate::error::{Context, Error, Result};
use crate::types::device_rules::{DEFAULT, Rule};

const FROM: &str = "/linux/resources/devices";

/// The step, and where the rules are noted.
pub struct Change {
    step: Step,
    /// What the rules come to.
    pub access: DeviceAccess,
    /// The state directory, in which the rules are noted.
    state: Rc<StateDirectory>,
    rules: Vec<Rule>,
    /// The rules in effect, as far as anybody can tell.
    old: Option<Vec<Rule>>,
}

enum Step {
    V1(DevicesV1),
    V2(DevicesV2),
}

/// What takes a step back.
enum Before {
    V1(Option<DevicesV1>),
    V2(Replaced),
}

impl Change {
    /// None: no rules are given, or those that the container has.
    ///
    /// # Errors
    /// Rules that cannot be put into effect.
    pub fn new(state: &State, controllers: &Controllers, resources: &Resources) -> Result<Option<Change>> {
        let rules = &resources.devices;
        if rules.is_empty() {
            return Ok(None);
        }
        let Some(directory) = state.directory.clone() else { return Ok(None) };
        let old = now(&directory, state)?;
        if old.as_ref() == Some(rules) {
            return Ok(None);
        }
        let wrong = |message: String| Error::new(message).from_property(FROM);
        let access = access(rules).map_err(|conflict| wrong(conflict.to_string()))?;
        let cgroup = controllers.directory("devices").map(Into::into);
        let cgroup = cgroup.ok_or_else(|| wrong("devices: the container has no cgroup for devices".to_owned()))?;
        let step = match controllers {
            Controllers::V2(_) => Step::V2(DevicesV2 { directory: cgroup, program: filter::program(&access) }),
            Controllers::V1(_) => {
                let access = access.clone().for_v1().map_err(|conflict| wrong(conflict.to_string()))?;
                Step::V1(DevicesV1 { directory: cgroup, access })
            }
        };
        Ok(Some(Change { step, access, state: directory, rules: rules.clone(), old }))
    }

    /// Puts the rules into effect, notes them, and does what is last: at no moment is more or less allowed than
    /// by the old or the new.
    ///
    /// # Errors
    /// Rules that the kernel refuses; a note that cannot be written; those of what is last. Then the old rules
    /// are in effect again, and noted.
    pub fn all_or_nothing(&self, last: impl FnOnce() -> Result<()>) -> Result<()> {
        let noted = self.state.read(DEVICES)?;
        let before = self.put()?;
        let text = serde_json::json!({ "devices": self.rules.iter().map(spelled).collect::<Vec<_>>() });
        let note = self.state.write(DEVICES, text.to_string().as_bytes());
        let note = note.what(|| format!("write {:?}", self.state.path().join(DEVICES)));
        note.and_then(|()| last()).map_err(|error| {
            let _ = match noted {
                Some(noted) => self.state.write(DEVICES, &noted.text),
                None => self.state.remove(DEVICES).map_err(Into::into),
            };
            match self.put_back(before) {
                Ok(()) => error,
                Err(other) => error.note(format!("the old device rules could not be set again: {other}")),
            }
        })
    }

    /// Puts the rules into effect once more, after systemd has written its own: on v1 to the same list, and
    /// perhaps fewer.
    pub fn again(&self) -> Result<()> {
        self.put().map(drop)
    }

    fn put(&self) -> Result<Before> {
        match &self.step {
            Step::V1(step) => {
                let now = self.list_now(step)?;
                let changed = step.change().inspect_err(|_| {
                    let _ = now.as_ref().map(DevicesV1::change);
                });
                changed.map(|()| Before::V1(now))
            }
            Step::V2(step) => step.run().map(Before::V2),
        }
        .map_err(|error| error.from_property(FROM))
    }

    /// The list of a v1 cgroup; where it cannot be read, that of the rules that are known.
    fn list_now(&self, step: &DevicesV1) -> Result<Option<DevicesV1>> {
        let recorded = || {
            let access = access(self.old.as_ref()?).and_then(DeviceAccess::for_v1).ok()?;
            Some(DevicesV1 { directory: step.directory.clone(), access })
        };
        Ok(DevicesV1::now(&step.directory)?.or_else(recorded))
    }

    fn put_back(&self, before: Before) -> Result<()> {
        match (&self.step, before) {
            (Step::V2(step), Before::V2(replaced)) => step.put_back(&replaced),
            (_, Before::V1(Some(list))) => list.change(),
            _ => Err(Error::new("nobody knows them")),
        }
    }
}

/// What rules come to, with what every container may have.
fn access(rules: &[Rule]) -> std::result::Result<DeviceAccess, Conflict> {
    let all: Vec<Rule> = rules.iter().chain(DEFAULT).copied().collect();
    DeviceAccess::from_rules(&all)
}

/// The rules in effect: those of the last update, or of the config. None: nobody can tell.
///
/// # Errors
/// A note that cannot be read.
fn now(directory: &StateDirectory, state: &State) -> Result<Option<Vec<Rule>>> {
    Ok(match directory.read(DEVICES)? {
        Some(note) => bundle::read_resources(&note.text, "devices").ok().map(|resources| resources.devices),
        None => bundle::load(&state.bundle).ok().map(|bundle| bundle.spec.linux.resources.devices),
    })
}

/// As a config has it.
fn spelled(rule: &Rule) -> serde_json::Value {
    let text = rule.to_string();
    let kind = text.split(' ').next();
    serde_json::json!({ "allow": rule.allow, "type": kind, "major": rule.major, "minor": rule.minor,
        "access": rule.access.to_string() })
}
