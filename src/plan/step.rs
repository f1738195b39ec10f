//! The steps of a plan: what is done, and the property that asked for it. The two lanes, parent_lane.rs and
//! init_lane.rs, each list what they can do; a step of one is not of the type of the other.

use std::fmt;

use nix::sched::CloneFlags;

use crate::pointer::Pointer;
use crate::process::hook::Hook;

/// The name of ferrun's own lane.
pub const PARENT: &str = "parent";
/// The name of the init's lane.
pub const INIT: &str = "init";

/// One thing to do in a lane, and the property that asked for it.
pub struct Step<A> {
    /// Where it comes from; `None` for steps that every container has.
    pub from: Option<Pointer>,
    /// What is done.
    pub action: A,
}

/// What a step does, as `explain` and `--trace` print it.
pub trait Action: fmt::Display {
    /// The word that it is filed under.
    fn verb(&self) -> &'static str;
}

impl Action for Hook {
    fn verb(&self) -> &'static str {
        "hooks"
    }
}

/// Defines the enum of a lane's actions from its table. Each row has the variant, the struct that it holds (a large one
/// boxed: a plan has some seventy steps, nearly all of them small), its verb, and how the lane runs it.
macro_rules! actions {
    ($lane:ident: $($(#[$doc:meta])* $name:ident($inner:ty) = $verb:literal, |$step:ident, $on:ident| $run:expr;)*) => {
        /// What a step of this lane does.
        #[derive(PartialEq)]
        pub enum $lane { $($(#[$doc])* $name($inner),)* }

        impl $crate::plan::step::Action for $lane {
            fn verb(&self) -> &'static str {
                match self { $($lane::$name(_) => $verb,)* }
            }
        }

        impl std::fmt::Display for $lane {
            fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                match self { $($lane::$name(inner) => write!(f, "{inner}"),)* }
            }
        }

        $(impl From<$inner> for $lane {
            fn from(inner: $inner) -> $lane { $lane::$name(inner) }
        })*
    };
}
pub(super) use actions;

/// Makes the init: clone3(2), with those namespaces that a process can only be born into.
#[derive(PartialEq)]
pub struct Clone {
    /// The new namespaces.
    pub flags: CloneFlags,
    /// The v2 cgroup that it is born in.
    pub cgroup: Option<std::rc::Rc<str>>,
    /// The namespaces that are entered before, since they are its children's.
    pub enter: CloneFlags,
    /// Whether an intermediate process enters them, which ends then: there is no way back from a user namespace, and none
    /// into the host's namespaces out of one; and what ferrun has open is not for the neighbours of a pid namespace.
    pub between: bool,
    /// Whether ferrun's own next children would be in the new time namespace, too.
    pub new_time: bool,
    /// Whether the process goes on in another one: [`Cross`].
    pub crosses: bool,
}

impl fmt::Display for Clone {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let names = crate::types::namespaces::names(self.flags);
        f.write_str(if names.is_empty() { "a process" } else { &names })?;
        if !self.enter.is_empty() {
            write!(f, " in joined {}", crate::types::namespaces::names(self.enter))?;
        }
        f.write_str(if self.between { " by an intermediate process" } else { "" })?;
        if self.cgroup.is_some() { f.write_str(" into the v2 cgroup") } else { Ok(()) }
    }
}

/// Makes types that say only one sentence.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {$(
        $(#[$doc])*
        #[derive(PartialEq)]
        pub struct $name;
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result { f.write_str($text) }
        }
    )*};
}

words! {
    /// Writes the init's identity to the state directory, so that it can be found and killed.
    Record = "record the init",
    /// The parent's word: that the init is on record and its cgroups are there; then that the hooks have run.
    Release = "the init",
    /// The last clone: what comes after is done in the pid namespace of others, without rights.
    Cross = "into the pid namespace",
    /// Until the init has done that.
    AwaitCrossing = "until it is in the pid namespace",
    /// The parent's word to what was created so.
    Proceed = "the process there",
    /// Until the parent has done for it what it has no right to.
    AwaitParent = "for the parent",
    /// After `create`: until somebody starts it.
    AwaitStart = "for start",
    /// Until the init has made the mounts or says what failed.
    AwaitMounts = "until the mounts are made",
    /// The mounts are made, and the host's tree is still there.
    Mounted = "tell the parent",
    /// Until the init is ready or says what failed.
    AwaitReady = "until the init is ready",
    /// Until the parent releases the init.
    Wait = "for release",
    /// Everything up to the program is done.
    Ready = "tell the parent; after create, wait for start",
}
