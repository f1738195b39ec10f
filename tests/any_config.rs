//! Any config.json made from the specification's own schema: whatever subset of the properties, with values
//! that are right, at a limit, or of another type. It is compiled to a plan or refused with a property that
//! is in the document; and `check` says the same as a start. No root, no host.
//!
//! `CASES=100000 cargo test --release --test any_config` looks longer than the default.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use ferrun::bundle::{self, collect_errors};
use ferrun::error::{Error, ErrorKind};
use ferrun::plan::{self, Host, Options};
use proptest::prelude::*;
use proptest::strategy::Union;
use proptest::test_runner::{Config, TestError, TestRunner};
use serde_json::{Map, Value, json};

/// What the schema says of a value.
#[derive(Clone)]
enum Shape {
    Bool,
    /// Both ends included.
    Int(i128, i128),
    /// One of these, for the most part.
    Text(&'static [&'static str]),
    /// Elements, and how many at most.
    List(Box<Shape>, usize),
    /// Keys that may be anything, of which these are sensible.
    Map(&'static [&'static str], Box<Shape>),
    /// Properties; `!` at the end of a name: it is nearly always there.
    Object(Vec<(&'static str, Shape)>),
}

use Shape::{Bool, Int, Object, Text};

fn list(of: Shape) -> Shape {
    Shape::List(Box::new(of), 4)
}

fn map(keys: &'static [&'static str], of: Shape) -> Shape {
    Shape::Map(keys, Box::new(of))
}

const U32: Shape = Int(0, u32::MAX as i128);
const U64: Shape = Int(0, u64::MAX as i128);
const I64: Shape = Int(i64::MIN as i128, i64::MAX as i128);
const ID: Shape = Int(0, 3000);
const PATH: Shape = Text(&["/a", "/proc", "/dev", "/dev/null", "/a/../b", "/proc/kcore"]);
const NAME: Shape = Text(&["a", "b.c"]);

fn spec() -> Shape {
    Object(vec![
        ("ociVersion!", Text(&["1.0.0", "1.2.0", "1.3.0", "1.0.2-dev"])),
        ("process!", process()),
        ("root!", Object(vec![("path!", Text(&["rootfs", "/r"])), ("readonly", Bool)])),
        ("hostname", Text(&["box"])),
        ("domainname", Text(&["example"])),
        ("mounts", list(mount())),
        ("hooks", hooks()),
        ("annotations", map(&["a", "org.systemd.property.X", "a/b~c"], NAME)),
        ("linux!", linux()),
        ("unknown", Text(&["anything"])),
    ])
}

fn process() -> Shape {
    let capabilities =
        || Shape::List(Box::new(Text(&["CAP_KILL", "CAP_CHOWN", "CAP_SYS_ADMIN", "cap_bpf", "CAP_X"])), 4);
    let sets = ["bounding", "effective", "inheritable", "permitted", "ambient"];
    Object(vec![
        ("terminal", Text(&[])),
        ("consoleSize", Object(vec![("height!", Int(0, 100_000)), ("width!", Int(0, 100_000))])),
        (
            "user",
            Object(vec![
                ("uid!", ID),
                ("gid!", ID),
                ("umask", Int(0, 0o7777)),
                ("additionalGids", list(ID)),
                ("username", NAME),
            ]),
        ),
        ("args!", list(Text(&["sh", "/bin/true", "-c"]))),
        ("env", list(Text(&["PATH=/bin", "HOME=/", "A=", "A=1"]))),
        ("cwd!", Text(&["/", "/a/b"])),
        ("capabilities", Object(sets.map(|set| (set, capabilities())).to_vec())),
        (
            "rlimits",
            list(Object(vec![
                ("type!", Text(&["RLIMIT_CORE", "RLIMIT_NOFILE", "RLIMIT_AS"])),
                ("soft!", Int(0, 9)),
                ("hard!", Int(9, u64::MAX as i128)),
            ])),
        ),
        ("noNewPrivileges", Bool),
        ("oomScoreAdj", Int(-1000, 1000)),
        ("apparmorProfile", NAME),
        ("selinuxLabel", NAME),
        ("scheduler", scheduler()),
        (
            "ioPriority",
            Object(vec![
                ("class!", Text(&["IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"])),
                ("priority!", Int(0, 7)),
            ]),
        ),
        ("execCPUAffinity", Object(vec![("initial", Text(&["0-3,7", ""])), ("final", Text(&["1"]))])),
        ("commandLine", NAME),
    ])
}

fn scheduler() -> Shape {
    let policies = Text(&["SCHED_OTHER", "SCHED_BATCH", "SCHED_IDLE", "SCHED_FIFO", "SCHED_RR", "SCHED_DEADLINE"]);
    Object(vec![
        ("policy!", policies),
        ("nice", Int(-20, 19)),
        ("priority", Int(0, 99)),
        ("flags", list(Text(&["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_KEEP_PARAMS"]))),
        ("runtime", U64),
        ("deadline", U64),
        ("period", U64),
    ])
}

fn mappings() -> Shape {
    list(Object(vec![("containerID!", Int(0, 1)), ("hostID!", U32), ("size!", Int(1, 65536))]))
}

fn mount() -> Shape {
    let options = Text(&[
        "ro",
        "nosuid",
        "bind",
        "rbind",
        "rro",
        "noatime",
        "rslave",
        "remount",
        "idmap",
        "tmpcopyup",
        "size=1k",
        "mode=755",
        "gid=5",
    ]);
    Object(vec![
        ("destination!", PATH),
        ("type!", Text(&["tmpfs", "proc", "sysfs", "bind", "cgroup", "devpts", "mqueue"])),
        ("source!", Text(&["/src", "rel", "none"])),
        ("options", list(options)),
        ("uidMappings", mappings()),
        ("gidMappings", mappings()),
    ])
}

fn hooks() -> Shape {
    let hook = || {
        let (args, env) = (list(Text(&["hook", "-x"])), list(Text(&["A=1"])));
        list(Object(vec![("path!", PATH), ("args", args), ("env", env), ("timeout", Int(1, 100))]))
    };
    let kinds = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    Object(kinds.map(|kind| (kind, hook())).to_vec())
}

fn linux() -> Shape {
    let offset = || Object(vec![("secs", I64), ("nanosecs", Int(0, 999_999_999))]);
    let namespace = Object(vec![
        ("type!", Text(&["mount", "pid", "uts", "ipc", "network", "cgroup", "user", "time"])),
        ("path", Text(&["/proc/1/ns/net", ""])),
    ]);
    let device = Object(vec![
        ("path!", Text(&["/dev/x", "/y", "/dev/null", "/dev/ptmx"])),
        ("type!", Text(&["c", "b", "u", "p"])),
        ("major!", Int(0, 300)),
        ("minor!", Int(-1, 300)),
        ("fileMode", Int(0, 0o777)),
        ("uid", ID),
        ("gid", ID),
    ]);
    Object(vec![
        ("namespaces!", list(namespace)),
        ("uidMappings", mappings()),
        ("gidMappings", mappings()),
        ("timeOffsets", Object(vec![("monotonic", offset()), ("boottime", offset())])),
        ("devices", list(device)),
        ("netDevices", map(&["eth0", "dummy1"], Object(vec![("name", Text(&["eth0", "net%d"]))]))),
        ("cgroupsPath", Text(&["/a/b", "rel", "s.slice:p:n", "/..", ""])),
        ("resources", resources()),
        ("rootfsPropagation", Text(&["private", "rshared", "slave", "runbindable", ""])),
        ("maskedPaths", list(PATH)),
        ("readonlyPaths", list(PATH)),
        ("mountLabel", NAME),
        ("sysctl", map(&["net.ipv4.ip_forward", "kernel.sem", "net/core/x.y", "kernel.hostname"], NAME)),
        ("seccomp", seccomp()),
        (
            "intelRdt",
            Object(vec![
                ("closID", NAME),
                ("l3CacheSchema", Text(&["L3:0=f"])),
                ("memBwSchema", Text(&["MB:0=10"])),
                ("schemata", list(NAME)),
                ("enableMonitoring", Bool),
            ]),
        ),
        (
            "memoryPolicy",
            Object(vec![
                ("mode!", Text(&["MPOL_BIND", "MPOL_LOCAL", "MPOL_DEFAULT"])),
                ("nodes", Text(&["0", "0-1", ""])),
                ("flags", list(Text(&["MPOL_F_STATIC_NODES"]))),
            ]),
        ),
        ("personality", Object(vec![("domain!", Text(&["LINUX", "LINUX32"])), ("flags", list(NAME))])),
    ])
}

fn resources() -> Shape {
    let rate = || list(Object(vec![("major!", ID), ("minor!", ID), ("rate", U64)]));
    let device = Object(vec![
        ("allow!", Bool),
        ("type", Text(&["a", "c", "b"])),
        ("major", Int(-1, 300)),
        ("minor", Int(-1, 300)),
        ("access", Text(&["rwm", "r", ""])),
    ]);
    Object(vec![
        ("devices", list(device)),
        (
            "memory",
            Object(vec![
                ("limit", I64),
                ("reservation", I64),
                ("swap", I64),
                ("kernel", I64),
                ("kernelTCP", I64),
                ("swappiness", Int(0, 100)),
                ("disableOOMKiller", Bool),
                ("useHierarchy", Bool),
                ("checkBeforeUpdate", Bool),
            ]),
        ),
        (
            "cpu",
            Object(vec![
                ("shares", U64),
                ("quota", I64),
                ("burst", U64),
                ("period", U64),
                ("realtimeRuntime", I64),
                ("realtimePeriod", U64),
                ("cpus", Text(&["0-1", ""])),
                ("mems", Text(&["0"])),
                ("idle", Int(0, 1)),
            ]),
        ),
        ("pids", Object(vec![("limit!", I64)])),
        (
            "blockIO",
            Object(vec![
                ("weight", Int(10, 1000)),
                ("leafWeight", Int(10, 1000)),
                ("throttleReadBpsDevice", rate()),
                ("throttleWriteIOPSDevice", rate()),
                (
                    "weightDevice",
                    list(Object(vec![
                        ("major!", ID),
                        ("minor!", ID),
                        ("weight", Int(10, 1000)),
                        ("leafWeight", Int(10, 1000)),
                    ])),
                ),
            ]),
        ),
        ("hugepageLimits", list(Object(vec![("pageSize!", Text(&["2MB", "1GB"])), ("limit!", U64)]))),
        (
            "network",
            Object(vec![("classID", U32), ("priorities", list(Object(vec![("name!", NAME), ("priority!", U32)])))]),
        ),
        ("rdma", map(&["mlx5_1"], Object(vec![("hcaHandles", U32), ("hcaObjects", U32)]))),
        ("unified", map(&["memory.high", "a/b"], NAME)),
    ])
}

fn seccomp() -> Shape {
    let actions = || Text(&["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_TRAP", "SCMP_ACT_NOTIFY"]);
    let argument = Object(vec![
        ("index!", Int(0, 5)),
        ("value!", U64),
        ("valueTwo", U64),
        ("op!", Text(&["SCMP_CMP_EQ", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_LT"])),
    ]);
    let rule = Object(vec![
        ("names!", list(Text(&["read", "write", "clone", "socket", "nosuch"]))),
        ("action!", actions()),
        ("errnoRet", Int(0, 4095)),
        ("args", list(argument)),
    ]);
    Object(vec![
        ("defaultAction!", actions()),
        ("defaultErrnoRet", Int(0, 4095)),
        ("architectures", list(Text(&["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_MIPS"]))),
        ("flags", list(Text(&["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"]))),
        ("listenerPath", PATH),
        ("listenerMetadata", NAME),
        ("syscalls", list(rule)),
    ])
}

/// Values of a shape, and now and then one that has another.
fn values(shape: &Shape) -> BoxedStrategy<Value> {
    let right = match shape {
        Bool => any::<bool>().prop_map(Value::from).boxed(),
        Int(low, high) => numbers(*low, *high),
        Text(names) => texts(names),
        Shape::List(of, most) => prop::collection::vec(values(of), 0..=*most).prop_map(Value::from).boxed(),
        Shape::Map(keys, of) => {
            let key = prop_oneof![9 => prop::sample::select(*keys).prop_map(str::to_owned), 1 => strange_text()];
            let entries = prop::collection::vec((key, values(of)), 0..3);
            entries.prop_map(|entries| Value::Object(entries.into_iter().collect())).boxed()
        }
        Object(properties) => object(properties),
    };
    Union::new_weighted(vec![(800, right), (1, strange().boxed())]).boxed()
}

fn object(properties: &[(&'static str, Shape)]) -> BoxedStrategy<Value> {
    let properties = properties.iter().map(|(name, shape)| {
        let (name, often) = name.strip_suffix('!').map_or((*name, 0.1), |name| (name, 0.995));
        prop::option::weighted(often, values(shape)).prop_map(move |value| (name, value))
    });
    let properties: Vec<_> = properties.collect();
    properties
        .prop_map(|properties| {
            let there = properties.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
            Value::Object(there.collect::<Map<_, _>>())
        })
        .boxed()
}

fn numbers(low: i128, high: i128) -> BoxedStrategy<Value> {
    let number = |number: i128| match (u64::try_from(number), i64::try_from(number)) {
        (Ok(number), _) => json!(number),
        (_, Ok(number)) => json!(number),
        _ => json!(number as f64),
    };
    let limits = vec![low, high, 0, 1, -1];
    let beyond = vec![low - 1, high + 1, i64::MAX.into(), u64::MAX.into(), i64::MIN.into()];
    Union::new_weighted(vec![
        (200, (low..=high).boxed()),
        (10, prop::sample::select(limits).boxed()),
        (1, prop::sample::select(beyond).boxed()),
    ])
    .prop_map(number)
    .boxed()
}

fn texts(names: &'static [&'static str]) -> BoxedStrategy<Value> {
    if names.is_empty() {
        return Just(json!(false)).boxed();
    }
    let known = prop::sample::select(names).prop_map(str::to_owned);
    prop_oneof![400 => known, 1 => strange_text()].prop_map(Value::from).boxed()
}

fn strange_text() -> impl Strategy<Value = String> {
    const TEXTS: &[&str] =
        &["", "\0", "/", "..", "a/b", "é", "a\nb", "999999999999999999999", "-1", "%d", "a=b", ":", "::"];
    prop_oneof![prop::sample::select(TEXTS).prop_map(str::to_owned), Just("x".repeat(5000))]
}

/// Of any type.
fn strange() -> impl Strategy<Value = Value> {
    prop_oneof![
        prop::sample::select(vec![
            json!(null),
            json!(true),
            json!(0),
            json!(-1),
            json!(1.5),
            json!(1e300),
            json!(u64::MAX),
            json!([]),
            json!({}),
            json!([null]),
            json!([[]]),
            json!({ "a": {} }),
            json!({ "": [{}] }),
        ]),
        strange_text().prop_map(Value::from),
    ]
}

/// Most properties need others, which chance seldom brings together: what every container must have is put
/// in, and what would stand twice taken out.
fn complete(mut document: Value) -> Value {
    if let Some(Value::Array(namespaces)) = document.pointer_mut("/linux/namespaces") {
        namespaces.retain(|namespace| namespace["path"].is_null() && namespace["type"] != "user");
        namespaces.extend(["mount", "uts", "network", "ipc", "time"].map(|kind| json!({ "type": kind })));
        let mut seen = Vec::new();
        namespaces.retain(|namespace| {
            let new = !seen.contains(&namespace["type"]);
            seen.push(namespace["type"].clone());
            new
        });
    }
    if let Some(Value::Array(args)) = document.pointer_mut("/process/args") {
        args.insert(0, json!("sh"));
    }
    document
}

/// Whether the property that an error names is in the document, or could be: what is missing has a name, but
/// an element that is not in its list has none.
fn is_there(pointer: &str, document: &Value) -> bool {
    let mut place = Some(document);
    pointer.split('/').skip(1).all(|key| {
        place = place.and_then(|place| place.pointer(&format!("/{key}")));
        place.is_some() || key.parse::<usize>().is_err()
    })
}

struct Cases {
    dir: PathBuf,
    hosts: Vec<Host>,
    compiled: Cell<u32>,
    refused: Cell<u32>,
}

impl Cases {
    fn new() -> Cases {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        let host = |name: &str| -> Host { serde_json::from_slice(&std::fs::read(data.join(name)).unwrap()).unwrap() };
        let (hybrid, v2) = (host("host-hybrid.json"), host("host-v2.json"));
        let v2 = Host { apparmor: true, selinux: true, resctrl: Some("/sys/fs/resctrl".into()), ..v2 };
        let dir = std::env::temp_dir().join(format!("ferrun-any-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Cases { dir, hosts: vec![hybrid, v2], compiled: Cell::new(0), refused: Cell::new(0) }
    }

    /// Fails unless the config is compiled or refused as it should be.
    fn look_at(&self, document: &Value) -> Result<(), TestCaseError> {
        let text = serde_json::to_vec(document).unwrap();
        std::fs::write(self.dir.join("config.json"), &text).unwrap();
        let (found, rest) = collect_errors::all(&text);
        let options = Options { id: "ID".into(), ..Options::default() };
        match bundle::load(&self.dir) {
            Err(error) => {
                self.refused.set(self.refused.get() + 1);
                prop_assert!(!found.errors.is_empty(), "check does not tell {error:?}");
                found.errors.iter().chain([&error]).try_for_each(|error| has_place(error, document))?;
                if let Some((spec, _)) = rest {
                    let bundle = bundle::Bundle { text, ..bundle::Bundle::of_spec(self.dir.clone(), spec) };
                    self.hosts.iter().for_each(|host| drop(plan::compile_all(&bundle, host, &options)));
                }
            }
            Ok(bundle) => {
                prop_assert!(found.errors.is_empty(), "check refuses what a start takes: {:?}", found.errors);
                for host in &self.hosts {
                    match plan::compile(&bundle, host, &options) {
                        Ok(plan) => {
                            let positions = bundle::Positions::new(&text);
                            prop_assert!(plan::explain::text(&plan, &positions).contains("steps"));
                            self.compiled.set(self.compiled.get() + 1);
                        }
                        Err(error) => has_place(&error, document)?,
                    }
                }
            }
        }
        found.warnings.iter().try_for_each(|warning| has_place(warning, document))
    }
}

fn has_place(error: &Error, document: &Value) -> Result<(), TestCaseError> {
    match error.pointer.as_deref() {
        Some(pointer) => prop_assert!(is_there(pointer, document), "{pointer} is not in the document: {error}"),
        // The document itself has no name.
        None => prop_assert!(error.kind == ErrorKind::Missing || !document.is_object(), "no property in {error:?}"),
    }
    Ok(())
}

#[test]
fn any_config_is_compiled_or_refused_with_a_property() {
    let cases = std::env::var("CASES").map_or(1000, |cases| cases.parse().expect("CASES is a number"));
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let tried = Cases::new();
    let configs = (values(&spec()), prop::bool::weighted(0.8));
    let configs = configs.prop_map(|(document, completed)| if completed { complete(document) } else { document });
    let result = TestRunner::new(config).run(&configs, |document| tried.look_at(&document));
    std::fs::remove_dir_all(&tried.dir).unwrap();
    match result {
        Ok(()) => {}
        Err(TestError::Fail(why, document)) => panic!("{why}\n{}", serde_json::to_string_pretty(&document).unwrap()),
        Err(error) => panic!("{error}"),
    }
    // Both must happen often, or the rest shows nothing.
    let (compiled, refused) = (tried.compiled.get(), tried.refused.get());
    println!("{cases} configs: {refused} refused, {compiled} plans");
    assert!(compiled > cases / 20 && refused > cases / 20, "{compiled} plans, {refused} refused of {cases}");
}
