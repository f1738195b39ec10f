//! What every test on real bundles needs: the binary, a bundle with busybox, and a clean host after it.
#![allow(dead_code)] // each test binary uses its part

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The binary under test: $FERRUN (hack/test sets it to the release binary), else the one that cargo built.
pub fn ferrun_binary() -> PathBuf {
    std::env::var_os("FERRUN").map_or_else(|| env!("CARGO_BIN_EXE_ferrun").into(), PathBuf::from)
}

/// Says loudly that a test was skipped and why; hack/test gathers and counts these lines.
pub fn skip(why: &str) {
    eprintln!("SKIPPED: {why}");
    if let Some(path) = std::env::var_os("FERRUN_SKIPS") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        std::io::Write::write_all(&mut file, format!("{why}\n").as_bytes()).unwrap();
    }
}

/// Returns from a test, loudly, unless it can be root on a host with busybox.
#[macro_export]
macro_rules! need_root {
    () => {
        if !nix::unistd::geteuid().is_root() {
            return $crate::common::skip("this test needs root");
        }
        if !std::path::Path::new("/bin/busybox").exists() {
            return $crate::common::skip("this test needs /bin/busybox (Debian's busybox-static)");
        }
    };
}

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A bundle with its own state root and cgroup path; gone with everything in it when dropped.
pub struct Bundle {
    pub dir: PathBuf,
    pub config: Value,
    pub id: String,
}

impl Bundle {
    /// A bundle from `ferrun spec`'s own default, with a busybox root, running `args`.
    pub fn new(args: &[&str]) -> Bundle {
        let id = format!("t{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(format!("ferrun-test-{id}"));
        make_rootfs(&dir.join("rootfs"));
        let made = Command::new(ferrun_binary()).args(["spec", "--bundle"]).arg(&dir).status().unwrap();
        assert!(made.success(), "ferrun spec");
        let text = std::fs::read(dir.join("config.json")).unwrap();
        let mut config: Value = serde_json::from_slice(&text).unwrap();
        config["process"]["args"] = json!(args);
        config["linux"]["cgroupsPath"] = json!(format!("/ferrun-{id}"));
        let bundle = Bundle { dir, config, id };
        bundle.write();
        bundle
    }

    /// A bundle that runs a shell script.
    pub fn sh(script: &str) -> Bundle {
        Bundle::new(&["sh", "-c", script])
    }

    /// Changes the config and writes it.
    pub fn with(mut self, change: impl FnOnce(&mut Value)) -> Bundle {
        change(&mut self.config);
        self.write();
        self
    }

    /// Writes the config.
    pub fn write(&self) {
        std::fs::write(self.dir.join("config.json"), serde_json::to_vec_pretty(&self.config).unwrap()).unwrap();
    }

    pub fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// Where this bundle's containers have their states.
    pub fn state_root(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// `ferrun --root … ARGS`, not started yet; streams are piped, standard input is empty.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(ferrun_binary());
        command.arg("--root").arg(self.state_root()).args(args).stdin(Stdio::null());
        command
    }

    /// Runs `ferrun ARGS` to its end.
    pub fn ferrun(&self, args: &[&str]) -> Done {
        Done::new(self.command(args).output().unwrap())
    }

    /// `ferrun run` of this bundle.
    pub fn run(&self) -> Done {
        self.run_with(&[])
    }

    /// `ferrun run` with further flags.
    pub fn run_with(&self, flags: &[&str]) -> Done {
        self.verb("run", flags)
    }

    /// `ferrun create` of this bundle, its streams led nowhere: the init keeps them.
    pub fn create_with(&self, flags: &[&str]) -> Done {
        let error = self.dir.join("create.err");
        let file = std::fs::File::create(&error).unwrap();
        let mut command = self.command(&["create", "--bundle", self.dir.to_str().unwrap()]);
        let status = command.args(flags).arg(&self.id).stdout(Stdio::null()).stderr(file).status().unwrap();
        let stderr = std::fs::read_to_string(error).unwrap();
        Done { status: status.code().unwrap_or(-1), stdout: String::new(), stderr }
    }

    pub fn create(&self) -> Done {
        self.create_with(&[])
    }

    fn verb(&self, verb: &str, flags: &[&str]) -> Done {
        let dir = self.dir.to_str().unwrap();
        let args = [&[verb, "--bundle", dir], flags, &[self.id.as_str()]].concat();
        self.ferrun(&args)
    }

    /// `ferrun VERB ID ARGS`.
    pub fn on(&self, verb: &str, args: &[&str]) -> Done {
        self.ferrun(&[&[verb, self.id.as_str()], args].concat())
    }

    pub fn start(&self) -> Done {
        self.on("start", &[])
    }

    pub fn delete_force(&self) -> Done {
        self.ferrun(&["delete", "--force", &self.id])
    }

    /// The state as JSON.
    pub fn state(&self) -> Value {
        let done = self.on("state", &[]);
        serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("state: {done:?}"))
    }

    pub fn status(&self) -> String {
        self.state()["status"].as_str().unwrap().to_owned()
    }

    /// Waits up to 10 s for a status.
    pub fn wait_for(&self, status: &str) {
        let begin = Instant::now();
        while self.status() != status {
            assert!(begin.elapsed() < Duration::from_secs(10), "still {} and not {status}", self.status());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The container's cgroup directories that exist, in every hierarchy of this host.
    pub fn cgroups(&self) -> Vec<PathBuf> {
        let Some(path) = self.config["linux"]["cgroupsPath"].as_str() else { return Vec::new() };
        let top = path.trim_start_matches('/').split('/').next().unwrap();
        let hierarchies = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        let mut candidates: Vec<PathBuf> = hierarchies.map(|entry| entry.path().join(top)).collect();
        candidates.push(Path::new("/sys/fs/cgroup").join(top));
        candidates.retain(|path| path.is_dir());
        candidates
    }

    /// Fails unless no state, cgroup, mount or process of this bundle is left.
    pub fn assert_nothing_left(&self, after: &str) {
        let states = std::fs::read_dir(self.state_root()).into_iter().flatten().flatten().count();
        assert_eq!(states, 0, "a state directory is left after {after}");
        assert_eq!(self.cgroups(), Vec::<PathBuf>::new(), "cgroups are left after {after}");
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let name = self.dir.to_str().unwrap();
        assert!(!mounts.contains(name), "a mount is left after {after}");
        assert_eq!(processes_in(&self.dir), Vec::<String>::new(), "a process is left after {after}");
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        if nix::unistd::geteuid().is_root() {
            for entry in std::fs::read_dir(self.state_root()).into_iter().flatten().flatten() {
                let id = entry.file_name();
                let _ = self.command(&["delete", "--force", id.to_str().unwrap()]).output();
            }
            for cgroup in self.cgroups() {
                let _ = std::fs::remove_dir(cgroup);
            }
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Processes whose root, working directory or command line is in a directory: those of its containers.
fn processes_in(dir: &Path) -> Vec<String> {
    let name = dir.to_str().unwrap();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_str().unwrap_or_default().parse::<u32>() else { continue };
        let mounts = std::fs::read_to_string(entry.path().join("mountinfo")).unwrap_or_default();
        if pid != std::process::id()
            && mounts.lines().any(|line| line.split(' ').nth(3).is_some_and(|root| root.contains(name)))
        {
            let command = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            found.push(format!("{pid} {}", command.replace('\0', " ")));
        }
    }
    found
}

/// A root file system with busybox under its usual names.
fn make_rootfs(rootfs: &Path) {
    for name in ["bin", "etc", "tmp", "proc", "dev", "sys", "root"] {
        std::fs::create_dir_all(rootfs.join(name)).unwrap();
    }
    if !Path::new("/bin/busybox").exists() {
        return;
    }
    // A link costs nothing; where the temporary directory is another file system, a copy does as well.
    let busybox = rootfs.join("bin/busybox");
    if std::fs::hard_link("/bin/busybox", &busybox).is_err() {
        std::fs::copy("/bin/busybox", &busybox).unwrap();
    }
    let names = "sh cat ls id hostname sleep true false echo stat mount ps kill touch mkdir env pwd readlink grep head \
                 tail wc sed tr ip mknod test sort cut dd df umount chmod ln rm seq nproc date printf";
    for name in names.split_whitespace() {
        std::os::unix::fs::symlink("busybox", rootfs.join("bin").join(name)).unwrap();
    }
    std::fs::write(rootfs.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/:/bin/sh\n").unwrap();
}

/// A finished command.
#[derive(Debug)]
pub struct Done {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Done {
    pub fn new(output: Output) -> Done {
        use std::os::unix::process::ExitStatusExt;
        let status = output.status.code().unwrap_or_else(|| -output.status.signal().unwrap_or(0));
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Done { status, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Fails unless it succeeded; gives its output without the last newline.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.status, 0, "{self:?}");
        self.stdout.trim_end().to_owned()
    }

    /// Fails unless it failed with status 1 and these words.
    #[track_caller]
    pub fn refused(&self, words: &str) {
        assert_eq!(self.status, 1, "{self:?}");
        assert!(self.stderr.contains(words), "no {words:?} in {self:?}");
    }
}
