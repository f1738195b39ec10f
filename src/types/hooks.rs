//! Kinds of hooks: config.md of the OCI runtime spec, "POSIX-platform Hooks".

use serde::{Deserialize, Serialize};

use crate::pointer::Pointer;

/// When a hook runs, and in whose namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// Before [`Kind::CreateRuntime`], its successor.
    Prestart,
    /// Once the mounts are created, before the init leaves the host's tree; in ferrun's namespaces.
    CreateRuntime,
    /// After that, in the container's namespaces.
    CreateContainer,
    /// In the container, just before its program.
    StartContainer,
    /// Once the program runs, in ferrun's namespaces.
    Poststart,
    /// When the container is gone, in ferrun's namespaces.
    Poststop,
}

impl Kind {
    /// Every kind, in the order of the container's life.
    pub const ALL: [Kind; 6] = [
        Kind::Prestart,
        Kind::CreateRuntime,
        Kind::CreateContainer,
        Kind::StartContainer,
        Kind::Poststart,
        Kind::Poststop,
    ];

    /// Its name in config.json.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Prestart => "prestart",
            Kind::CreateRuntime => "createRuntime",
            Kind::CreateContainer => "createContainer",
            Kind::StartContainer => "startContainer",
            Kind::Poststart => "poststart",
            Kind::Poststop => "poststop",
        }
    }

    /// The location of the hook of this index in config.json.
    pub fn pointer(self, index: usize) -> Pointer {
        let pattern = match self {
            Kind::Prestart => "/hooks/prestart/#",
            Kind::CreateRuntime => "/hooks/createRuntime/#",
            Kind::CreateContainer => "/hooks/createContainer/#",
            Kind::StartContainer => "/hooks/startContainer/#",
            Kind::Poststart => "/hooks/poststart/#",
            Kind::Poststop => "/hooks/poststop/#",
        };
        Pointer::at(pattern, index)
    }
}
