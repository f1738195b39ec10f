//! Properties that the specification does not know: ignored, as it demands, but perhaps misspelt.

use std::fmt::Write;

use serde_json::Value;

use super::device::{self, Device};
use super::hooks::{Hook, Hooks};
use super::intel_rdt::IntelRdt;
use super::linux::{Linux, Namespace, NetDevice, Offset, TimeOffsets};
use super::mount::Mount;
use super::names::{self, nearest, question};
use super::problems::MOST;
use super::process::{Capabilities, ConsoleSize, Process, Rlimit, User};
use super::resources::{
    BlockIo, Cpu, HugepageLimit, LinkPriority, Memory, Network, Pids, Rdma, Resources, ThrottleDevice, WeightDevice,
};
use super::scheduling::{ExecCpuAffinity, IoPriority, MemoryPolicy, Personality, Scheduler};
use super::spec::Root;
use super::{Spec, idmap, seccomp};
use crate::error::Error;
use crate::pointer::escaped;

/// A warning for each property of a config.json that has no meaning.
pub fn properties(config: &Value) -> Vec<Error> {
    let mut found = Vec::new();
    look(config, &mut String::new(), &mut String::new(), &mut found);
    found
}

/// The same for `linux.resources` alone, as `update` is given them; pointers begin there.
pub fn resources(resources: &Value) -> Vec<Error> {
    let mut found = Vec::new();
    look(resources, &mut String::new(), &mut "/linux/resources".into(), &mut found);
    found
}

/// Walks the text with two paths: the pointer, and its pattern, in which `#` stands for any element and `*` for
/// any name.
fn look(value: &Value, pointer: &mut String, pattern: &mut String, found: &mut Vec<Error>) {
    let lengths = (pointer.len(), pattern.len());
    match value {
        Value::Array(list) => {
            for (index, element) in list.iter().enumerate() {
                let _ = write!(pointer, "/{index}");
                pattern.push_str("/#");
                look(element, pointer, pattern, found);
                pointer.truncate(lengths.0);
                pattern.truncate(lengths.1);
            }
        }
        Value::Object(object) => {
            let names = Names::of(pattern);
            for (name, value) in object {
                let _ = write!(pointer, "/{}", escaped(name));
                pattern.push('/');
                match &names {
                    Names::Any => {
                        pattern.push('*');
                        look(value, pointer, pattern, found);
                    }
                    Names::These(known) => {
                        pattern.push_str(name);
                        match known.contains(&name.as_str()) {
                            true => look(value, pointer, pattern, found),
                            false if found.len() > MOST => return,
                            false if WITHOUT_EFFECT.contains(&pattern.as_str()) => {}
                            false => found.push(warning(pointer, name, known)),
                        }
                    }
                }
                pointer.truncate(lengths.0);
                pattern.truncate(lengths.1);
            }
        }
        _ => {}
    }
}

/// Whether a property is one that the specification has for another platform.
pub fn is_for_another_platform(pointer: &str) -> bool {
    OTHER_PLATFORMS.contains(&pointer)
}

fn warning(pointer: &str, name: &str, known: &[&'static str]) -> Error {
    if is_for_another_platform(pointer) {
        return Error::new("for another platform; it is ignored").from_property(pointer);
    }
    let near = match pointer {
        "/linux" => Some("give what is in linux.resources alone".into()),
        _ => nearest(name, known.iter().copied()).map(question),
    };
    near.into_iter().fold(Error::new("no such property; it is ignored").from_property(pointer), Error::hint)
}

/// What the specification has for platforms that are not Linux.
const OTHER_PLATFORMS: &[&str] = &["/freebsd", "/solaris", "/vm", "/windows", "/zos", "/process/commandLine"];

/// What the specification has and no kernel makes anything of any more.
const WITHOUT_EFFECT: &[&str] = &["/linux/resources/memory/useHierarchy"];

/// Which names an object may have.
enum Names {
    /// Any: its names are data.
    Any,
    /// Those of its type.
    These(&'static [&'static str]),
}

impl Names {
    /// Of the object at a pattern of a pointer.
    fn of(pattern: &str) -> Names {
        Names::These(match pattern {
            "" => names::properties::<Spec>(),
            "/root" => names::properties::<Root>(),
            "/mounts/#" => names::properties::<Mount>(),
            "/mounts/#/uidMappings/#" | "/mounts/#/gidMappings/#" => idmap::properties(),
            "/hooks" => names::properties::<Hooks>(),
            _ if pattern.starts_with("/hooks/") => names::properties::<Hook>(),
            _ if pattern.starts_with("/process") => return Names::of_process(pattern),
            _ if pattern.starts_with("/linux/resources") => return Names::of_resources(pattern),
            _ if pattern.starts_with("/linux") => return Names::of_linux(pattern),
            _ => return Names::Any,
        })
    }

    fn of_process(pattern: &str) -> Names {
        Names::These(match pattern {
            "/process" => names::properties::<Process>(),
            "/process/user" => names::properties::<User>(),
            "/process/consoleSize" => names::properties::<ConsoleSize>(),
            "/process/capabilities" => names::properties::<Capabilities>(),
            "/process/rlimits/#" => names::properties::<Rlimit>(),
            "/process/scheduler" => names::properties::<Scheduler>(),
            "/process/ioPriority" => names::properties::<IoPriority>(),
            "/process/execCPUAffinity" => names::properties::<ExecCpuAffinity>(),
            _ => return Names::Any,
        })
    }

    fn of_linux(pattern: &str) -> Names {
        Names::These(match pattern {
            "/linux" => names::properties::<Linux>(),
            "/linux/namespaces/#" => names::properties::<Namespace>(),
            "/linux/uidMappings/#" | "/linux/gidMappings/#" => idmap::properties(),
            "/linux/timeOffsets" => names::properties::<TimeOffsets>(),
            "/linux/timeOffsets/monotonic" | "/linux/timeOffsets/boottime" => names::properties::<Offset>(),
            "/linux/devices/#" => names::properties::<Device>(),
            "/linux/netDevices/*" => names::properties::<NetDevice>(),
            "/linux/intelRdt" => names::properties::<IntelRdt>(),
            "/linux/memoryPolicy" => names::properties::<MemoryPolicy>(),
            "/linux/personality" => names::properties::<Personality>(),
            "/linux/seccomp" => seccomp::properties(),
            "/linux/seccomp/syscalls/#" => seccomp::properties_of_a_rule(),
            "/linux/seccomp/syscalls/#/args/#" => seccomp::properties_of_an_argument(),
            _ => return Names::Any,
        })
    }

    fn of_resources(pattern: &str) -> Names {
        Names::These(match pattern {
            "/linux/resources" => names::properties::<Resources>(),
            "/linux/resources/devices/#" => device::properties_of_a_rule(),
            "/linux/resources/memory" => names::properties::<Memory>(),
            "/linux/resources/cpu" => names::properties::<Cpu>(),
            "/linux/resources/pids" => names::properties::<Pids>(),
            "/linux/resources/blockIO" => names::properties::<BlockIo>(),
            "/linux/resources/blockIO/weightDevice/#" => names::properties::<WeightDevice>(),
            _ if pattern.starts_with("/linux/resources/blockIO/") => names::properties::<ThrottleDevice>(),
            "/linux/resources/hugepageLimits/#" => names::properties::<HugepageLimit>(),
            "/linux/resources/network" => names::properties::<Network>(),
            "/linux/resources/network/priorities/#" => names::properties::<LinkPriority>(),
            "/linux/resources/rdma/*" => names::properties::<Rdma>(),
            _ => return Names::Any,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every kind of object that the specification has.
    const ALL: &str = r##"{"x":0,"root":{"x":0},"mounts":[{"x":0,"uidMappings":[{"x":0}],"gidMappings":[{"x":0}]}],
        "annotations":{"y":""},"hooks":{"x":0,"prestart":[{"x":0}],"poststop":[{"x":0}]},
        "process":{"x":0,"user":{"x":0},"consoleSize":{"x":0},"capabilities":{"x":0},"rlimits":[{"x":0}],
            "scheduler":{"x":0},"ioPriority":{"x":0},"execCPUAffinity":{"x":0}},
        "linux":{"x":0,"namespaces":[{"x":0}],"uidMappings":[{"x":0}],"gidMappings":[{"x":0}],"sysctl":{"y":""},
            "timeOffsets":{"x":0,"monotonic":{"x":0},"boottime":{"x":0}},"devices":[{"x":0}],
            "netDevices":{"y":{"x":0}},"intelRdt":{"x":0},"memoryPolicy":{"x":0},"personality":{"x":0},
            "seccomp":{"x":0,"syscalls":[{"x":0,"args":[{"x":0}]}]},
            "resources":{"x":0,"devices":[{"x":0}],"memory":{"x":0,"useHierarchy":true},"cpu":{"x":0},"pids":{"x":0},
                "blockIO":{"x":0,"weightDevice":[{"x":0}],"throttleReadBpsDevice":[{"x":0}]},
                "hugepageLimits":[{"x":0}],"network":{"x":0,"priorities":[{"x":0}]},"rdma":{"y":{"x":0}},
                "unified":{"y":""}}}}"##;

    #[test]
    fn every_object_is_looked_at_and_every_property_known() {
        let config: Value = serde_json::from_str(ALL).unwrap();
        let found = properties(&config);
        assert_eq!(found.len(), ALL.matches("\"x\"").count(), "{found:?}");
        assert!(found.iter().all(|warning| warning.pointer.as_deref().unwrap().ends_with("/x")), "{found:?}");
    }

    #[test]
    fn names_that_are_near_are_asked_about() {
        let text = r#"{"linux":{"resources":{"cpu":{"share":1}},"devices":[{"filemode":1}]},"proces":{},"vm":{}}"#;
        let found = properties(&serde_json::from_str(text).unwrap());
        let hint = |warning: &Error| warning.hint.as_deref().unwrap_or_default().to_owned();
        let hints: Vec<String> = found.iter().map(hint).collect();
        let names = ["fileMode", "shares", "process", ""];
        assert!(hints.iter().zip(names).all(|(hint, name)| hint.contains(name) && hint.is_empty() == name.is_empty()));
        hints.iter().for_each(|hint| crate::golden::compare(hint));
    }
}
