//! Cgroups that systemd creates: a transient unit a container, started with all its properties in one call.
//! Limits without a property of systemd are written to the cgroup by the other steps.

pub mod dbus;
pub mod gvariant;
pub mod property;

use std::fmt;
use std::rc::Rc;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, Pid, access};
use serde::{Deserialize, Serialize};

use crate::cgroup::directory::Directory;
use crate::cgroup::kill;
use crate::cgroup::members::has_members;
use crate::error::{Context, Error, Result};
use crate::sys::file;
use dbus::bus::{Answer, Bus};
use dbus::value::Value;
use property::Property;

/// As the errors of systemd's bus interface are called.
const EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
/// In the words with which it refuses a value of the wrong type.
const WRONG_TYPE: &str = "Unexpected message contents";

/// Starts the container's unit, with its first process in it.
#[derive(PartialEq)]
pub struct StartUnit {
    /// Its name: `ferrun-c1.scope`.
    pub unit: String,
    /// Its properties, but for the process; of two of one name the later counts.
    pub properties: Vec<Property>,
    /// Where its cgroup must be, relative to the hierarchy's root.
    pub path: String,
    /// The hierarchy in which systemd follows its units, as /proc/PID/cgroup spells it: empty for v2, or
    /// `name=systemd`.
    pub hierarchy: &'static str,
}

impl StartUnit {
    /// Runs the step. On return the process is in the unit's cgroup.
    ///
    /// # Errors
    /// A bus that is not there or does not answer; a property that systemd does not take; a unit of this
    /// name that there is already.
    pub fn run(&self, init: Pid) -> Result<()> {
        // Only at the start can one go on without systemd.
        let hint = |error: Error| error.hint("without --systemd-cgroup, ferrun makes the cgroups itself");
        let mut bus = Bus::connect().map_err(hint)?;
        bus.watch_jobs();
        let answer = persist(&self.properties, |given, forget| {
            if forget {
                bus.call("ResetFailedUnit", &[Value::text(&self.unit)])?;
            }
            self.start(&mut bus, init, given)
        });
        let job = self.started(answer.map_err(hint)?)?;
        match bus.await_job(&job).map_err(hint)?.as_str() {
            "done" => self.check(init),
            result => Err(Error::new(format!("systemd did not start unit {}: the job is {result}", self.unit))
                .hint(format!("systemd says more in its journal: journalctl -u {}", self.unit))),
        }
    }

    fn start(&self, bus: &mut Bus, init: Pid, given: &[&Property]) -> Result<Answer> {
        let pids = Value::Array("u".into(), vec![Value::U32(init.as_raw() as u32)]);
        let pids = Property::new("PIDs", pids);
        let properties = array(given.iter().copied().chain([&pids]));
        let no_other_units = Value::Array("(sa(sv))".into(), Vec::new());
        bus.call("StartTransientUnit", &[Value::text(&self.unit), Value::text("replace"), properties, no_other_units])
    }

    /// The job, or what systemd has against it. Its words name the property, if it is one.
    fn started(&self, answer: Answer) -> Result<String> {
        let (name, text) = match answer {
            Answer::Done(job) => return Ok(job),
            Answer::Refused(name, text) => (name, text),
        };
        let error = Error::new(format!("start unit {}: systemd refuses", self.unit)).detail(said(&name, &text));
        Err(match self.refused(&text) {
            Some(pointer) => error.from_property(pointer),
            None => error,
        })
    }

    /// The pointer behind the property that systemd refuses. The bus carries its name in a sentence alone, and not even
    /// there if the value has the wrong type: that only an annotation can give.
    fn refused(&self, text: &str) -> Option<&str> {
        let named = |property: &&Property| text.split(|c: char| !c.is_alphanumeric()).any(|word| word == property.name);
        if let Some(property) = self.properties.iter().rev().find(named) {
            return property.from.as_deref();
        }
        let mut annotated = self.properties.iter().filter(|property| property.annotated);
        let only = annotated.next().filter(|_| annotated.next().is_none() && text.contains(WRONG_TYPE))?;
        only.from.as_deref()
    }

    /// The limits are written to the cgroup at this path: it must be the one that systemd has chosen.
    fn check(&self, init: Pid) -> Result<()> {
        let path = format!("/proc/{init}/cgroup");
        let lines = file::read(path.as_str()).what(|| format!("read {path}"))?;
        let lines = String::from_utf8_lossy(&lines);
        let own = lines.lines().find_map(|line| {
            let (hierarchy, path) = line.split_once(':')?.1.split_once(':')?;
            (hierarchy == self.hierarchy).then_some(path)
        });
        match own {
            Some(own) if own == self.path => Ok(()),
            own => Err(Error::new(format!(
                "systemd has put unit {} into cgroup {}, not into {}",
                self.unit,
                own.unwrap_or("(none)"),
                self.path
            ))),
        }
    }
}

impl fmt::Display for StartUnit {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "start {}:", self.unit)?;
        self.properties.iter().try_for_each(|property| write!(f, " {property}"))
    }
}

/// Asks systemd, and asks again where a refusal can be helped: without what older versions do not take, and
/// once more when a unit that stands in the way is to be forgotten before. One that failed and was not
/// cleaned away keeps its name until then.
fn persist(properties: &[Property], mut ask: impl FnMut(&[&Property], bool) -> Result<Answer>) -> Result<Answer> {
    let mut given: Vec<&Property> = properties.iter().collect();
    let (mut forgotten, mut forget) = (false, false);
    loop {
        match ask(&given, forget)? {
            Answer::Refused(name, _) if name == EXISTS && !forgotten => (forgotten, forget) = (true, true),
            Answer::Refused(name, _) if name != EXISTS && given.iter().any(|property| property.recent) => {
                given.retain(|property| !property.recent);
                forget = false;
            }
            answer => return Ok(answer),
        }
    }
}

fn array<'a>(properties: impl Iterator<Item = &'a Property>) -> Value {
    Value::Array("(sv)".into(), properties.map(Property::to_value).collect())
}

fn said(name: &str, text: &str) -> String {
    if text.is_empty() { name.to_owned() } else { text.trim_end_matches('.').to_owned() }
}

/// A unit of systemd that is a container's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// Its cgroup, as long as systemd knows it, in the hierarchy in which systemd follows it.
    pub directory: Rc<str>,
}

impl Unit {
    /// Ends the unit, and waits until systemd has forgotten it. Where the cgroup is gone it has done so by
    /// itself, as soon as it heard of the last process's end. What is still in one of the unit's directories is
    /// killed before, since systemd would ask it to end and wait; unless it is not the container's (`kill` is
    /// false): then the unit stays.
    ///
    /// # Errors
    /// Those of the bus; processes that do not die.
    pub fn stop(&self, directories: &[Directory], kill: bool) -> Result<()> {
        if access(&*self.directory, AccessFlags::F_OK) == Err(Errno::ENOENT) {
            return Ok(());
        }
        if kill {
            kill::kill_and_wait(directories)?;
        } else if has_members(directories)? {
            return Ok(());
        }
        let mut bus = Bus::connect()?;
        bus.watch_jobs();
        match bus.call("StopUnit", &[Value::text(&self.name), Value::text("replace")])? {
            Answer::Done(job) => bus.await_job(&job).map(drop),
            Answer::Refused(name, _) if name == NO_SUCH_UNIT => Ok(()),
            Answer::Refused(name, text) => {
                Err(Error::new(format!("stop unit {}: systemd refuses", self.name)).detail(said(&name, &text)))
            }
        }
    }
}

/// Changes properties of a running unit, until it ends.
///
/// # Errors
/// Those of the bus; a property that systemd does not take: then none is changed.
pub fn set_properties(unit: &str, properties: &[Property]) -> Result<()> {
    let mut bus = Bus::connect()?;
    let answer = persist(properties, |given, _| {
        let all = array(given.iter().copied());
        bus.call("SetUnitProperties", &[Value::text(unit), Value::Bool(true), all])
    })?;
    match answer {
        Answer::Done(_) => Ok(()),
        Answer::Refused(name, text) => {
            Err(Error::new(format!("set properties of unit {unit}: systemd refuses")).detail(said(&name, &text)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is asked for of a systemd that refuses for these reasons, one after the other.
    fn asked(refusals: &[&str]) -> (Vec<String>, bool) {
        let recent = Property { recent: true, ..Property::new("OOMPolicy", Value::text("kill")) };
        let properties = [Property::new("TasksMax", Value::U64(7)), recent];
        let (mut asked, mut refusals) = (Vec::new(), refusals.iter());
        let answer = persist(&properties, |given, forget| {
            let names: Vec<&str> = given.iter().map(|property| &*property.name).collect();
            asked.push(format!("{}{}", if forget { "again " } else { "" }, names.join(" ")));
            Ok(match refusals.next() {
                Some(name) => Answer::Refused((*name).into(), String::new()),
                None => Answer::Done(String::new()),
            })
        });
        (asked, matches!(answer, Ok(Answer::Done(_))))
    }

    #[test]
    fn systemd_is_asked_again_where_that_can_help() {
        const READ_ONLY: &str = "org.freedesktop.DBus.Error.PropertyReadOnly";
        let (all, older) = ("TasksMax OOMPolicy", "TasksMax");
        let again = |what: &str| format!("again {what}");
        assert_eq!(asked(&[]), (vec![all.into()], true));
        assert_eq!(asked(&[READ_ONLY]), (vec![all.into(), older.into()], true));
        assert_eq!(asked(&[EXISTS]), (vec![all.into(), again(all)], true));
        assert_eq!(asked(&[EXISTS, READ_ONLY]), (vec![all.into(), again(all), older.into()], true));
        assert_eq!(asked(&[READ_ONLY, EXISTS]), (vec![all.into(), older.into(), again(older)], true));
        assert_eq!(asked(&[READ_ONLY, READ_ONLY]), (vec![all.into(), older.into()], false));
        assert_eq!(asked(&[EXISTS, EXISTS]), (vec![all.into(), again(all)], false));
    }
}
