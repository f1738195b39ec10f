//! The table of limits, in the order in which they are written.

use std::ops::RangeInclusive;

use nix::errno::Errno;

use super::{Asked, Flag, Kind, OfDevice, On, Place, Row, Zero, convert};
use crate::bundle::resources::{Resources, ThrottleDevice, WeightDevice};
use crate::types::limits::{FILE, File, Hint, ReadBack, Unit};

use Kind::{Signed, Size, Text, Unsigned};

/// Every limit that is a number, for a cgroup or for one of its devices, or a list of CPUs.
pub static TABLE: &[Row] = &[
    number("/linux/resources/memory/limit", |all| wide(all.memory.limit))
        .within(-1..=i128::MAX, BYTES)
        .v1(Place { after: "/linux/resources/memory/swap", ..to(LIMIT_V1) })
        .v2(Place { value: convert::or_max, ..to(file("memory.max").unit(Unit::Bytes("MemoryMax"))) })
        .flag(Size, "memory", "SIZE", "Memory; -1: without limit"),
    number("/linux/resources/memory/swap", |all| wide(convert::total(&all.memory)))
        .within(-1..=i128::MAX, BYTES)
        .v1(Place { optional: convert::is_implied, ..to(TOTAL_V1) })
        .v2(SWAP_V2)
        .flag(Size, "memory-swap", "SIZE", "Memory and swap together; -1: without limit"),
    number("/linux/resources/memory/reservation", |all| wide(all.memory.reservation))
        .within(-1..=i128::MAX, BYTES)
        .v1(to(file("memory.soft_limit_in_bytes")))
        .v2(Place { value: convert::or_max, ..to(file("memory.low").unit(Unit::Bytes("MemoryLow"))) })
        .flag(Size, "memory-reservation", "SIZE", "Memory that is left to the container when there is little"),
    number("/linux/resources/memory/kernel", |all| wide(all.memory.kernel))
        .not_on_v1(On::Ignored("memory.kernel is ignored: Linux has no such limit since 5.16"))
        .not_on_v2(On::Ignored("memory.kernel is ignored: cgroup v2 counts it with the rest"))
        .flag(Size, "kernel-memory", "SIZE", ""),
    number("/linux/resources/memory/kernelTCP", |all| wide(all.memory.kernel_tcp))
        .within(-1..=i128::MAX, BYTES)
        .not_on_v2(On::Ignored("memory.kernelTCP is ignored: cgroup v2 counts it with the rest"))
        .v1(to(file("memory.kmem.tcp.limit_in_bytes")))
        .flag(Size, "kernel-memory-tcp", "SIZE", ""),
    number("/linux/resources/memory/disableOOMKiller", |all| wide(all.memory.disable_oom_killer))
        .zero(Zero::Initial)
        .v1(to(file("memory.oom_control").read_back(ReadBack::Field("oom_kill_disable"))))
        .not_on_v2(On::Refused("cgroup v2 has no way to disable the OOM killer")),
    number("/linux/resources/memory/swappiness", |all| wide(all.memory.swappiness))
        .zero(Zero::Value)
        .within(0..=100, "swappiness is not between 0 and 100")
        .v1(to(file("memory.swappiness")))
        .not_on_v2(On::Refused("cgroup v2 has no swappiness of a cgroup")),
    number("/linux/resources/cpu/shares", |all| wide(all.cpu.shares))
        .v1(Place { value: convert::shares, after: IDLE, ..to(weight("cpu.shares", "CPUShares")) })
        .v2(Place { value: convert::weight_of_shares, after: IDLE, ..to(weight("cpu.weight", "CPUWeight")) })
        .flag(Unsigned, "cpu-share", "SHARES", "Weight on the CPUs, from 2 to 262144"),
    // A quota of a period may not exceed the share of the cgroup above, nor the burst the quota.
    number("/linux/resources/cpu/period", |all| wide(all.cpu.period))
        .v1(Place { after: QUOTA, ..to(time("cpu.cfs_period_us", Unit::Number("CPUQuotaPeriodUSec"))) })
        .v2(Place { value: convert::period_v2, after: BURST, ..to(time("cpu.max", Unit::CpuMax)) })
        .flag(Unsigned, "cpu-period", "TIME", "Period of the CPU quota in microseconds"),
    number(QUOTA, |all| wide(all.cpu.quota))
        .v1(Place { after: BURST, ..to(time("cpu.cfs_quota_us", Unit::Quota)) })
        .v2(Place { value: convert::cpu_max, after: BURST, ..to(time("cpu.max", Unit::CpuMax)) })
        .flag(Signed, "cpu-quota", "TIME", "CPU time in a period, in microseconds; -1: without limit"),
    number(BURST, |all| wide(all.cpu.burst))
        .zero(Zero::Initial)
        .v1(to(file("cpu.cfs_burst_us").hints(BURST_OF_QUOTA)))
        .v2(to(file("cpu.max.burst").hints(BURST_OF_QUOTA)))
        .flag(Unsigned, "cpu-burst", "TIME", "CFS burst in microseconds"),
    number(IDLE, |all| wide(all.cpu.idle))
        .zero(Zero::Initial)
        .within(0..=1, "idle is neither 0 nor 1")
        .both(to(CPU_IDLE))
        .flag(Signed, "cpu-idle", "0|1", "1: run only when nothing else wants to"),
    number(RUNTIME, |all| wide(all.cpu.realtime_runtime))
        .v1(to(file("cpu.rt_runtime_us").hints(&[(Some(Errno::EINVAL), Hint::RealTimeAbove)])))
        .not_on_v2(On::Refused("cgroup v2 has no real-time limits"))
        .flag(Signed, "cpu-rt-runtime", "TIME", "Real-time in such a period, in microseconds"),
    number("/linux/resources/cpu/realtimePeriod", |all| wide(all.cpu.realtime_period))
        .v1(Place { before: RUNTIME, after: RUNTIME, ..to(file("cpu.rt_period_us")) })
        .not_on_v2(On::Refused("cgroup v2 has no real-time limits"))
        .flag(Unsigned, "cpu-rt-period", "TIME", "Period of the real-time limit in microseconds"),
    row("/linux/resources/cpu/cpus", Asked::Set(|all| &all.cpu.cpus))
        .flag(Text, "cpuset-cpus", "LIST", "CPUs, such as 0-3,7")
        .both(to(set("cpuset.cpus", "AllowedCPUs"))),
    row("/linux/resources/cpu/mems", Asked::Set(|all| &all.cpu.mems))
        .flag(Text, "cpuset-mems", "LIST", "Memory nodes")
        .both(to(set("cpuset.mems", "AllowedMemoryNodes"))),
    // 0 is as good as 1, which systemd can be told, too: the container has its first process in any case.
    number("/linux/resources/pids/limit", |all| wide(all.pids.limit))
        .zero(Zero::Value)
        .both(Place { value: convert::one_or_max, ..to(file("pids.max").unit(Unit::Tasks("TasksMax"))) })
        .flag(Signed, "pids-limit", "NUMBER", "Number of processes; -1: without limit"),
    // Kernels have either the weights of the old CFQ or those of BFQ, or none; on v2 those of BFQ or of iocost.
    number("/linux/resources/blockIO/weight", |all| wide(all.block_io.weight))
        .within(10..=1000, WEIGHTS)
        .v1(Place { instead: Some(&to(file("blkio.bfq.weight"))), ..to(CFQ_WEIGHT) })
        .v2(Place { instead: Some(&IO_WEIGHT), ..to(BFQ_WEIGHT) })
        .flag(Unsigned, "blkio-weight", "WEIGHT", "Weight on disks, from 10 to 1000"),
    number("/linux/resources/blockIO/leafWeight", |all| wide(all.block_io.leaf_weight))
        .within(10..=1000, WEIGHTS)
        .v1(to(file("blkio.leaf_weight")))
        .not_on_v2(On::Refused("cgroup v2 has no leafWeight")),
    device("/linux/resources/blockIO/weightDevice/#/weight", |all, index| {
        all.block_io.weight_device.get(index).map(|device| of(device, device.weight))
    })
    .within(10..=1000, WEIGHTS)
    .v1(Place { instead: Some(&to(BFQ_DEVICE)), ..to(file("blkio.weight_device")) })
    .v2(Place { instead: Some(&IO_WEIGHT), ..to(BFQ_WEIGHT) }),
    device("/linux/resources/blockIO/weightDevice/#/leafWeight", |all, index| {
        all.block_io.weight_device.get(index).map(|device| of(device, device.leaf_weight))
    })
    .within(10..=1000, WEIGHTS)
    .v1(to(file("blkio.leaf_weight_device")))
    .not_on_v2(On::Refused("cgroup v2 has no leafWeight")),
    throttle(
        "/linux/resources/blockIO/throttleReadBpsDevice/#",
        |all, index| all.block_io.throttle_read_bps_device.get(index).map(rate),
        "blkio.throttle.read_bps_device",
        "rbps=",
    ),
    throttle(
        "/linux/resources/blockIO/throttleWriteBpsDevice/#",
        |all, index| all.block_io.throttle_write_bps_device.get(index).map(rate),
        "blkio.throttle.write_bps_device",
        "wbps=",
    ),
    throttle(
        "/linux/resources/blockIO/throttleReadIOPSDevice/#",
        |all, index| all.block_io.throttle_read_iops_device.get(index).map(rate),
        "blkio.throttle.read_iops_device",
        "riops=",
    ),
    throttle(
        "/linux/resources/blockIO/throttleWriteIOPSDevice/#",
        |all, index| all.block_io.throttle_write_iops_device.get(index).map(rate),
        "blkio.throttle.write_iops_device",
        "wiops=",
    ),
    number("/linux/resources/network/classID", |all| wide(all.network.class_id))
        .v1(to(file("net_cls.classid")))
        .not_on_v2(On::Refused(NO_MARKS)),
];

/// Files that only `unified` writes, and systemd has a property for.
pub static UNIFIED_ONLY: &[File] = &[
    file("memory.high").unit(Unit::Bytes("MemoryHigh")),
    file("memory.min").unit(Unit::Bytes("MemoryMin")),
    file("memory.oom.group").unit(Unit::OomPolicy),
];

/// The file of RDMA devices, by name.
pub static RDMA: File = File {
    no_device: "/sys/class/infiniband has the RDMA devices of this host",
    ..file("rdma.max").read_back(ReadBack::Named)
};
/// The file of the priorities of traffic, by network interface.
pub static NET_PRIORITY: File = File {
    no_device: "the network interfaces are those of ferrun's own namespace: /sys/class/net",
    ..file("net_prio.ifpriomap").read_back(ReadBack::Named)
};
/// The files of huge pages, by size.
pub static HUGE_PAGES: File = FILE.hints(&[(Some(Errno::ENOENT), Hint::PageSizes)]);

/// The refusal of marks on v2.
pub const NO_MARKS: &str = "cgroup v2 has no marks on network traffic";
const BYTES: &str = "memory is counted in bytes; -1 is without limit";
const WEIGHTS: &str = "a weight is not between 10 and 1000";

const QUOTA: &str = "/linux/resources/cpu/quota";
const BURST: &str = "/linux/resources/cpu/burst";
const IDLE: &str = "/linux/resources/cpu/idle";
const RUNTIME: &str = "/linux/resources/cpu/realtimeRuntime";

type Hints = &'static [(Option<Errno>, Hint)];
const NO_SWAP: Hints =
    &[(Some(Errno::ENOENT), Hint::Say("the kernel counts swap only when booted with swapaccount=1"))];
const BURST_OF_QUOTA: Hints = &[(Some(Errno::EINVAL), Hint::Say("a burst is at most the quota"))];
const ONLY_BFQ: Hints = &[(
    Some(Errno::EOPNOTSUPP),
    Hint::Say("only the disks of the scheduler bfq have weights: /sys/block/NAME/queue/scheduler"),
)];

const LIMIT_V1: File = file("memory.limit_in_bytes")
    .unit(Unit::Bytes("MemoryLimit"))
    .hints(&[(Some(Errno::EBUSY), Hint::InUse("memory.usage_in_bytes")), (Some(Errno::EINVAL), Hint::BothLimits)]);
const TOTAL_V1: File = File {
    hints: &[
        (Some(Errno::EBUSY), Hint::InUse("memory.memsw.usage_in_bytes")),
        (Some(Errno::EINVAL), Hint::BothLimits),
        NO_SWAP[0],
    ],
    ..file("memory.memsw.limit_in_bytes")
};
const SWAP_V2: Place = Place {
    value: convert::swap_v2,
    optional: convert::is_without_swap,
    before: "/linux/resources/memory/limit",
    ..to(file("memory.swap.max").unit(Unit::Bytes("MemorySwapMax")).hints(NO_SWAP))
};
const CPU_IDLE: File = File { resets: &["cpu.shares", "cpu.weight"], ..file("cpu.idle").unit(Unit::Idle) };
const CFQ_WEIGHT: File = File { converted: true, ..file("blkio.weight").unit(Unit::Number("BlockIOWeight")) };
const BFQ_DEVICE: File = file("blkio.bfq.weight_device").hints(ONLY_BFQ).read_back(ReadBack::Weights);
const BFQ_WEIGHT: File = File {
    converted: true,
    ..file("io.bfq.weight").unit(Unit::OfInstead).hints(ONLY_BFQ).read_back(ReadBack::Weights)
};
static IO_WEIGHT: Place = Place {
    value: convert::io_weight,
    ..to(file("io.weight").unit(Unit::Weight("IOWeight")).read_back(ReadBack::Weights).hints(&[(
        Some(Errno::EOPNOTSUPP),
        Hint::Say("io.weight needs blk-iocost enabled for the disk (io.cost.qos)"),
    )]))
};

const fn weight(name: &'static str, unit: &'static str) -> File {
    file(name).unit(Unit::Number(unit)).hints(&[(Some(Errno::EINVAL), Hint::IfIdle)])
}

const fn time(name: &'static str, unit: Unit) -> File {
    file(name).unit(unit).hints(&[(
        Some(Errno::EINVAL),
        Hint::Say(
            "a quota is at least 1000 microseconds, a period 1000 to 1000000, and on v1 no cgroup has more CPU time \
             than the one above",
        ),
    )])
}

const fn set(name: &'static str, unit: &'static str) -> File {
    file(name).unit(Unit::Set(unit)).hints(&[(None, Hint::SetAbove)])
}

/// Methods that set a field of a row or a file.
macro_rules! setters {
    ($($of:ident.$method:ident($($name:ident: $type:ty),+) => $($field:ident: $value:expr),+;)+) => { $(
        impl $of {
            const fn $method(self, $($name: $type),+) -> $of {
                $of { $($field: $value),+, ..self }
            }
        }
    )+ };
}

setters! {
    Row.zero(zero: Zero) => zero: zero;
    Row.within(range: RangeInclusive<i128>, message: &'static str) => range: Some((range, message));
    Row.v1(place: Place) => v1: On::File(place);
    Row.v2(place: Place) => v2: On::File(place);
    Row.both(place: Place) => v1: On::File(place), v2: On::File(place);
    Row.not_on_v1(instead: On) => v1: instead;
    Row.not_on_v2(instead: On) => v2: instead;
    Row.flag(kind: Kind, name: &'static str, value: &'static str, help: &'static str) =>
        flag: Some(Flag(kind, name, value, help));
    File.unit(unit: Unit) => unit: unit;
    File.hints(hints: Hints) => hints: hints;
    File.read_back(read_back: ReadBack) => read_back: read_back;
}

const fn file(name: &'static str) -> File {
    File { name, ..FILE }
}

const fn to(file: File) -> Place {
    Place { file, value: convert::plain, optional: |_| false, key: "", before: "", after: "", instead: None }
}

/// A row in which everything else is to be given.
const fn row(from: &'static str, asked: Asked) -> Row {
    Row { from, asked, zero: Zero::Unset, range: None, v1: On::Refused(""), v2: On::Refused(""), flag: None }
}

const fn number(from: &'static str, asked: fn(&Resources) -> Option<i128>) -> Row {
    row(from, Asked::Number(asked))
}

const fn throttle(
    from: &'static str,
    asked: fn(&Resources, usize) -> Option<OfDevice>,
    v1: &'static str,
    key: &'static str,
) -> Row {
    let v2 = Place { key, value: convert::rate, ..to(file("io.max")) };
    device(from, asked).zero(Zero::Value).v1(to(file(v1))).v2(v2)
}

const fn device(from: &'static str, asked: fn(&Resources, usize) -> Option<OfDevice>) -> Row {
    row(from, Asked::Device(asked))
}

fn wide<T: Into<i128>>(value: Option<T>) -> Option<i128> {
    value.map(Into::into)
}

fn of(device: &WeightDevice, weight: Option<u16>) -> OfDevice {
    ((device.major, device.minor), wide(weight))
}

fn rate(device: &ThrottleDevice) -> OfDevice {
    ((device.major, device.minor), Some(device.rate.into()))
}
