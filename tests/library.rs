//! The operations as a library: a long-lived process of one thread, with ferrun's own allocator, creates, starts, kills and
//! deletes a thousand containers and is afterwards as it was before. A program of its own, since libtest has threads.

mod common;

use std::alloc::{GlobalAlloc, Layout};
use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{IntoRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};

use common::Bundle;
use ferrun::bundle::resources::Resources;
use ferrun::container::id::Id;
use ferrun::container::request::{Mode, Request};
use ferrun::container::state::Root;
use ferrun::container::{create, delete, events, exec, kill, pause, ps, resume, start, state, update};
use ferrun::error::{Error, Result};
use ferrun::launch::Process;
use ferrun::sys::allocator::Allocator;
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};
use serde_json::json;

/// Containers of each half: with SIGCHLD at its default action, and ignored.
const HALF: usize = 500;
/// Containers before the first look, after which what is made once is there.
const FIRST: usize = 20;
/// Descriptors of the caller's that are not close-on-exec.
const OPEN: usize = 50;

#[global_allocator]
static COUNTING: Counting = Counting(Allocator::new());

/// Bytes that are handed out.
static LIVE: AtomicIsize = AtomicIsize::new(0);

struct Counting(Allocator);

// SAFETY: all is left to the allocator; the count is no part of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as isize, Relaxed);
        // SAFETY: the caller's contract is the same.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Relaxed);
        // SAFETY: the caller's contract is the same.
        unsafe { self.0.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LIVE.fetch_add(size as isize - layout.size() as isize, Relaxed);
        // SAFETY: the caller's contract is the same.
        unsafe { self.0.realloc(block, layout, size) }
    }
}

fn main() {
    const NAME: &str = "a_caller_is_afterwards_as_it_was";
    let arguments: Vec<String> = std::env::args().collect();
    let given = |name: &str| arguments.iter().any(|argument| argument == name);
    if given("--list") {
        // As libtest does; none is ignored.
        if !given("--ignored") {
            println!("{NAME}: test");
        }
        return;
    }
    if arguments[1..].iter().any(|word| !word.starts_with('-') && !NAME.contains(word.as_str())) {
        return;
    }
    need_root!();
    let host = Host::new();
    be_an_odd_caller();
    host.half("with SIGCHLD at its default action");
    ignore(Signal::SIGCHLD);
    host.half("with SIGCHLD ignored");
    println!("test {NAME} ... ok");
}

/// A caller with descriptors that others would inherit, signals blocked and ignored, and a umask.
fn be_an_odd_caller() {
    let numbers: Vec<RawFd> = (0..OPEN).map(|_| fs::File::open("/dev/zero").unwrap().into_raw_fd()).collect();
    // The kernel's table of descriptors grows, and does not shrink: it has room already for those that come and go.
    nix::fcntl::fcntl(std::io::stdin(), nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(255))
        .map(nix::unistd::close)
        .unwrap()
        .unwrap();
    for number in &numbers {
        let flags = nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty());
        // SAFETY: it was just opened, and is never closed.
        nix::fcntl::fcntl(unsafe { std::os::fd::BorrowedFd::borrow_raw(*number) }, flags).unwrap();
    }
    let blocked = SigSet::from_iter([Signal::SIGUSR1, Signal::SIGTERM, Signal::SIGALRM]);
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&blocked), None).unwrap();
    ignore(Signal::SIGHUP);
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o123));
    std::env::set_current_dir("/usr").unwrap();
}

fn ignore(what: Signal) {
    // SAFETY: no code is run.
    unsafe { signal(what, SigHandler::SigIgn) }.unwrap();
}

/// The bundles, and where the containers are.
struct Host {
    root: Root,
    plain: Bundle,
    /// With a startContainer hook that lists its descriptors.
    hooked: Bundle,
    /// In the pid namespace of another container.
    joined: Bundle,
    /// Whose program is missing, whose mount cannot be made, whose hook fails, whose config is wrong.
    failing: [Bundle; 4],
}

impl Host {
    fn new() -> Host {
        let plain = || Bundle::new(&["sleep", "1000"]);
        let hook = |kind: &str, script: &str| {
            let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
            plain().set("/root/readonly", json!(false)).set(&format!("/hooks/{kind}"), hook)
        };
        let failing = [
            Bundle::new(&["/missing"]),
            plain().with(|config| {
                let mounts = config["mounts"].as_array_mut().unwrap();
                mounts.push(json!({"destination": "/x", "source": "/missing", "options": ["bind"]}));
            }),
            hook("createRuntime", "exit 3"),
            plain().set("/process/args", json!(7)),
        ];
        let first = plain();
        Host {
            root: Root::given(first.state_root()),
            plain: first,
            hooked: hook("startContainer", "ls -l /proc/self/fd > /descriptors"),
            joined: plain(),
            failing,
        }
    }

    fn create(&self, bundle: &Bundle, id: &Id) -> Result<Process> {
        let warn = |_: &Error| ();
        create(&Request::new(&self.root, id.clone(), &bundle.dir, Mode::Create, &warn).plan()?)
    }

    fn start(&self, id: &Id) -> Result<()> {
        start(&self.root, id, None, None, &|_| ())
    }

    fn delete(&self, id: &Id, force: bool) -> Result<()> {
        delete(&self.root, id, force, &|_| ())
    }

    /// Half of all containers, between two looks at the caller; at its memory, once there is what is made only once.
    fn half(&self, when: &str) {
        let before = Caller::look();
        (0..FIRST).for_each(|number| self.round(number));
        let memory = memory();
        (0..HALF).for_each(|number| self.round(number));
        assert_eq!(self::memory(), memory, "memory {when}");
        before.assert_equal(&Caller::look(), when);
    }

    /// One container through all operations; now and then those that fail, and others.
    fn round(&self, number: usize) {
        let id = Id::new(&format!("c{number}")).unwrap();
        let process = self.create(&self.plain, &id).unwrap();
        assert_eq!(state(&self.root, &id).unwrap().status.to_string(), "created");
        self.start(&id).unwrap();
        if number.is_multiple_of(10) {
            self.look_and_change(&id);
            self.fail_beside(&id);
            self.exec(&id);
            self.join(&process);
        }
        kill(&self.root, &id, 9, false).unwrap();
        reap(&process);
        if number.is_multiple_of(10) {
            assert!(kill(&self.root, &id, 15, false).is_err() && self.start(&id).is_err());
            assert!(pause(&self.root, &id).is_err() && update(&self.root, &id, Resources::default(), &[]).is_err());
        }
        self.delete(&id, false).unwrap();
        match number % 10 {
            1 => self.fail_to_create(&id),
            2 => self.run_hook(&id),
            _ => {}
        }
    }

    fn look_and_change(&self, id: &Id) {
        pause(&self.root, id).unwrap();
        assert_eq!(state(&self.root, id).unwrap().status.to_string(), "paused");
        resume(&self.root, id).unwrap();
        let mut resources = Resources::default();
        resources.pids.limit = Some(77);
        update(&self.root, id, resources, &[]).unwrap();
        assert_eq!(ps(&self.root, id).unwrap().pids.len(), 1);
        let mut told = 0;
        events::once(&self.root, id, &mut |_| {
            told += 1;
            true
        })
        .unwrap();
        assert_eq!(told, 1);
    }

    /// A further process, in the foreground and detached; and such that cannot be had.
    fn exec(&self, id: &Id) {
        let run = |program: &str, detach: bool| {
            let process = |bundle: &mut ferrun::bundle::Bundle, _: &OwnedFd| {
                let text = json!({ "args": [program], "cwd": "/", "env": ["PATH=/bin"] }).to_string();
                ferrun::bundle::exec_process::replace_process(bundle, text.as_bytes(), "process")
            };
            exec::exec(&exec::Request {
                root: &self.root,
                id: id.clone(),
                process: &process,
                detach,
                pid_file: None,
                console_socket: None,
                descriptors: [0, 0],
                cgroup: Vec::new(),
                pidfd_socket: None,
                ignore_paused: false,
                warn: &|_| (),
            })
        };
        assert_eq!(run("true", false).unwrap(), 0);
        assert_eq!(run("false", false).unwrap(), 1);
        assert!(run("nosuch", false).is_err() && run("nosuch", true).is_err());
    }

    /// What cannot be done with a running container, or without one.
    fn fail_beside(&self, id: &Id) {
        assert!(self.create(&self.plain, id).is_err() && self.start(id).is_err() && self.delete(id, false).is_err());
        assert!(resume(&self.root, id).is_err());
        let mut resources = Resources::default();
        resources.cpu.cpus = "99999".into();
        assert!(update(&self.root, id, resources, &[]).is_err());
        let none = Id::new("none").unwrap();
        assert!(
            state(&self.root, &none).is_err() && ps(&self.root, &none).is_err() && pause(&self.root, &none).is_err()
        );
        assert!(self.start(&none).is_err() && self.delete(&none, false).is_err());
        assert!(events::once(&self.root, &none, &mut |_| true).is_err());
    }

    /// A container that is born into the pid namespace of another: ferrun leaves its own for that.
    fn join(&self, process: &Process) {
        let id = Id::new("joined").unwrap();
        let mut config = self.joined.config.clone();
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        let pid = namespaces.iter_mut().find(|namespace| namespace["type"] == "pid").unwrap();
        pid["path"] = json!(format!("/proc/{}/ns/pid", process.pid));
        fs::write(self.joined.dir.join("config.json"), config.to_string()).unwrap();
        let process = self.create(&self.joined, &id).unwrap();
        kill(&self.root, &id, 9, false).unwrap();
        reap(&process);
        self.delete(&id, false).unwrap();
    }

    fn fail_to_create(&self, id: &Id) {
        for bundle in &self.failing {
            // A program that is missing shows at the start.
            let started = self.create(bundle, id).map(|process| (self.start(id), process));
            if let Ok((started, process)) = started {
                assert!(started.is_err());
                reap(&process);
                self.delete(id, true).unwrap();
            }
            assert!(state(&self.root, id).is_err());
        }
    }

    fn run_hook(&self, id: &Id) {
        let process = self.create(&self.hooked, id).unwrap();
        self.start(id).unwrap();
        let list = fs::read_to_string(self.hooked.rootfs().join("descriptors")).unwrap();
        assert!(list.contains(" 1 -> /descriptors") && !list.contains("/dev/zero"), "{list}");
        self.delete(id, true).unwrap();
        reap(&process);
    }
}

/// Takes the status of a container's init, unless the kernel has dropped it.
fn reap(process: &Process) {
    let _ = nix::sys::wait::waitpid(process.pid, None);
}

/// Bytes in use, and pages that are mapped.
fn memory() -> (isize, usize) {
    let live = LIVE.load(Relaxed);
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    (live, statm.split(' ').next().unwrap().parse().unwrap())
}

/// What of this process others could change.
struct Caller(BTreeMap<String, String>);

impl Caller {
    fn look() -> Caller {
        let mut all = BTreeMap::new();
        let status = fs::read_to_string("/proc/self/status").unwrap();
        for line in
            status.lines().filter(|line| !["ctxt_switches", "Rss", "SigQ"].iter().any(|name| line.contains(name)))
        {
            let (name, value) = line.split_once(':').unwrap();
            if !name.starts_with("Vm") {
                all.insert(name.to_owned(), value.trim().to_owned());
            }
        }
        for name in ["fd", "ns"] {
            for entry in fs::read_dir(format!("/proc/self/{name}")).unwrap().flatten() {
                let target = fs::read_link(entry.path()).unwrap_or_default();
                if !target.ends_with("fd") {
                    all.insert(format!("{name}/{}", entry.file_name().display()), target.display().to_string());
                }
            }
        }
        let task = format!("/proc/self/task/{}/children", std::process::id());
        all.insert("children".into(), fs::read_to_string(task).unwrap_or_default());
        for name in ["mountinfo", "cgroup", "oom_score_adj", "limits"] {
            all.insert(name.into(), fs::read_to_string(Path::new("/proc/self").join(name)).unwrap());
        }
        all.insert("cwd".into(), std::env::current_dir().unwrap().display().to_string());
        all.insert("dumpable".into(), nix::sys::prctl::get_dumpable().unwrap().to_string());
        let environment: Vec<_> = std::env::vars_os().collect();
        all.insert("environment".into(), format!("{environment:?}"));
        Caller(all)
    }

    fn assert_equal(&self, after: &Caller, when: &str) {
        for (name, value) in &self.0 {
            assert_eq!(Some(value), after.0.get(name), "{name} {when}");
        }
        assert_eq!(self.0.len(), after.0.len(), "{when}");
    }
}
