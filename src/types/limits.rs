//! Files of cgroups that limits are written to: what systemd calls them, how an old value is read back, and why the
//! kernel may refuse a new one.

use nix::errno::Errno;

/// A file of a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name; empty for one that only configs name.
    pub name: &'static str,
    /// Systemd's property for it.
    pub unit: Unit,
    /// Whether systemd, when told, writes a value that it makes of its own weights: BFQ's are not those that it counts
    /// in.
    pub converted: bool,
    /// Reasons why the kernel refuses a value, by what it says; `None`: whatever it says.
    pub hints: &'static [(Option<Errno>, Hint)],
    /// The reason for ENODEV.
    pub no_device: &'static str,
    /// How the old value is read.
    pub read_back: ReadBack,
    /// Files that the kernel resets when this one changes from 0.
    pub resets: &'static [&'static str],
}

/// Without anything special.
pub const FILE: File = File {
    name: "",
    unit: Unit::None,
    converted: false,
    hints: &[],
    no_device: "the kernel limits whole disks, and knows none of this number",
    read_back: ReadBack::Value,
    resets: &[],
};

/// A file of which nothing is known.
pub static OTHER: File = FILE;

/// A property of systemd's units, and how a file's value becomes its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// No property.
    None,
    /// Bytes; `max` and -1 are without limit.
    Bytes(&'static str),
    /// Tasks, of which 0 are too few for systemd.
    Tasks(&'static str),
    /// A number.
    Number(&'static str),
    /// A weight, perhaps after `default`.
    Weight(&'static str),
    /// A list of CPUs or memory nodes.
    Set(&'static str),
    /// OOMPolicy, for a unit that is not started yet.
    OomPolicy,
    /// A CPUWeight of 0.
    Idle,
    /// The quota of v1.
    Quota,
    /// The quota and the period of v2.
    CpuMax,
    /// That of the file that is written instead.
    OfInstead,
}

/// A reason why the kernel refuses a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// A sentence.
    Say(&'static str),
    /// The bytes in use, from this file.
    InUse(&'static str),
    /// Both limits of v1, on memory and on memory and swap together.
    BothLimits,
    /// The cgroup is idle, and so has no weight.
    IfIdle,
    /// The real-time that the cgroup above has.
    RealTimeAbove,
    /// The CPUs or memory nodes that the cgroup above has.
    SetAbove,
    /// The sizes of huge pages that the host has.
    PageSizes,
}

/// How a file's text gives the value that must be written to have it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadBack {
    /// It is the text, or the line of the device that is written; a device without a line is without limit.
    Value,
    /// The same; a device without a line has the default.
    Weights,
    /// The line that begins with the same name.
    Named,
    /// The number after this word.
    Field(&'static str),
    /// `L3:0=f;1=f`: the line of the same resource.
    Schemata,
}
