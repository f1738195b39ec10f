//! Changes of the limits of a running container: all are set, or all have their old values.

use super::limit::Limit;
use crate::error::{Error, Result};
use crate::sys::file;
use crate::types::limits::{File, OTHER, ReadBack};

/// What a file was before.
struct Old {
    path: String,
    /// What it said.
    text: Vec<u8>,
    /// As it must be written to be so again.
    value: String,
}

/// Sets the limits in order, but those of CPU sets after all others (the kernel does not let one be empty
/// again while it is in use), then does what is last.
///
/// # Errors
/// The first that is refused. Those before it have their old values again; those that cannot be restored are reported.
pub fn all_or_none(limits: &[Limit], last: impl FnOnce() -> Result<()>) -> Result<()> {
    let mut done = Vec::new();
    let (sets, others): (Vec<&Limit>, Vec<&Limit>) =
        limits.iter().partition(|limit| limit.write.controller() == "cpuset");
    for limit in others.into_iter().chain(sets) {
        let old: Vec<Old> =
            limit.files().flat_map(|(name, file, value)| Old::of(&limit.directory, name, file, value)).collect();
        match limit.run() {
            Ok(()) => done.extend(old),
            Err(error) => {
                // Of several writes of this one, some may have been taken.
                let partly = limit.files().count() > 1 || limit.write.value.contains('\n');
                done.extend(old.into_iter().filter(|_| partly));
                return Err(put_back(done, error));
            }
        }
    }
    last().map_err(|error| put_back(done, error))
}

/// Writes the old values, the last first. One that is not valid beside a value which goes back later is
/// tried again after that.
fn put_back(mut old: Vec<Old>, error: Error) -> Error {
    loop {
        let count = old.len();
        let mut left: Vec<Old> = old.into_iter().rev().filter(|old| !old.write()).collect();
        left.reverse();
        if left.is_empty() {
            return error;
        }
        if left.len() == count {
            let files: Vec<&str> = left.iter().map(|old| old.path.as_str()).collect();
            return error.note(format!("the old values of {} could not be set again", files.join(", ")));
        }
        old = left;
    }
}

impl Old {
    /// What a write changes: its file, and those that the kernel resets with it.
    fn of(directory: &str, name: &str, file: &File, written: &str) -> impl Iterator<Item = Old> {
        let own = Old::read(directory, name, file, written);
        let resets = if own.as_ref().is_some_and(|old| old.value == "0") { file.resets } else { &[] };
        resets.iter().filter_map(|name| Old::read(directory, name, &OTHER, "0")).chain(own)
    }

    /// None: the file is not there, or cannot be read, and so has no value.
    fn read(directory: &str, name: &str, file: &File, written: &str) -> Option<Old> {
        let path = format!("{directory}/{name}");
        let text = file::read(path.as_str()).ok()?;
        let now = String::from_utf8_lossy(&text);
        let lines: Vec<String> = written.lines().map(|line| as_written(file.read_back, line, &now)).collect();
        let value = if lines.is_empty() { "\n".into() } else { lines.join("\n") };
        Some(Old { path, text, value })
    }

    /// Whether the file is as it was: what a file takes nothing of, it takes no old value of either.
    fn write(&self) -> bool {
        let written = match self.value.as_str() {
            "\n" => file::write(self.path.as_str(), b"\n").is_ok(),
            lines => lines.lines().all(|line| file::write(self.path.as_str(), line.as_bytes()).is_ok()),
        };
        written || file::read(self.path.as_str()).is_ok_and(|text| text == self.text)
    }
}

/// How a line that is about to be written would be taken back, given what the file says now. Most files
/// say what is written to them; some say all of several things, of which the line sets one.
fn as_written(file: ReadBack, line: &str, now: &str) -> String {
    let begins = |with: &str| now.lines().find(|line| line.split([' ', ':']).next() == Some(with));
    match file {
        ReadBack::Field(name) => {
            return begins(name).and_then(|line| line.split_once(' ')).map_or(String::new(), |(_, value)| value.into());
        }
        ReadBack::Schemata => {
            let resource = line.split(':').next();
            let same = |line: &&str| line.trim().split(':').next() == resource;
            return now.lines().find(same).unwrap_or_default().trim().to_owned();
        }
        ReadBack::Value | ReadBack::Weights | ReadBack::Named => {}
    }
    let key = line.split_once(' ').filter(|(key, _)| key.contains(':') || file == ReadBack::Named);
    let Some((key, rest)) = key else {
        // `default 100` of the weights.
        let own = now.lines().next().and_then(|line| line.strip_prefix("default ")).unwrap_or(now).trim();
        return if own.is_empty() { "\n".to_owned() } else { own.to_owned() };
    };
    if let Some(line) = now.lines().find(|line| line.split(' ').next() == Some(key)) {
        return line.to_owned();
    }
    let pairs = rest.split(' ').filter_map(|pair| pair.split_once('='));
    let unlimited: String = pairs.map(|(name, _)| format!(" {name}=max")).collect();
    match unlimited.as_str() {
        "" if file == ReadBack::Weights => format!("{key} default"),
        "" => format!("{key} 0"),
        _ => format!("{key}{unlimited}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::limits::file_named;
    use crate::cgroup::write::{Otherwise, Write};
    use crate::pointer::Pointer;
    use crate::types::limits::FILE;

    #[test]
    fn what_was_never_changed_need_not_be_set_again() {
        // A file that can be read and takes nothing.
        let from = Pointer::new("/linux/resources/blockIO/weightDevice/#/weight");
        static INSTEAD: File = File { name: "cmdline", ..FILE };
        let otherwise = Otherwise::Instead(&INSTEAD, "8:0 50".into());
        let write = Write { from, name: "version".into(), file: &OTHER, value: "8:0 50".into(), otherwise };
        let error = all_or_none(&[Limit { directory: "/proc".into(), write }], || Ok(())).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("write \"8:0 50\" to /proc/") && !text.contains("set again"), "{text}");
    }

    #[test]
    fn what_a_file_says_is_not_always_what_is_written() {
        for (name, line, now, old) in [
            ("memory.max", "5", "max\n", "max"),
            ("memory.limit_in_bytes", "5", "9223372036854771712\n", "9223372036854771712"),
            ("cpu.max", "50000 100000", "max 100000\n", "max 100000"),
            ("cpuset.cpus", "0", "\n", "\n"),
            ("memory.oom_control", "1", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", "0"),
            ("io.weight", "50", "default 100\n8:0 200\n", "100"),
            ("io.bfq.weight", "50", "100\n", "100"),
            ("io.weight", "8:0 50", "default 100\n8:0 200\n", "8:0 200"),
            ("io.weight", "8:16 50", "default 100\n8:0 200\n", "8:16 default"),
            ("io.bfq.weight", "8:16 50", "100\n", "8:16 default"),
            (
                "io.max",
                "8:0 rbps=5",
                "8:0 rbps=1 wbps=max riops=max wiops=2\n",
                "8:0 rbps=1 wbps=max riops=max wiops=2",
            ),
            ("io.max", "8:16 rbps=5 wiops=1", "8:0 rbps=1 wbps=max riops=max wiops=2\n", "8:16 rbps=max wiops=max"),
            ("blkio.throttle.read_bps_device", "8:0 5", "8:0 7\n", "8:0 7"),
            ("blkio.throttle.read_bps_device", "8:0 5", "", "8:0 0"),
            ("blkio.bfq.weight_device", "8:0 50", "", "8:0 default"),
            ("net_prio.ifpriomap", "lo 5", "lo 0\neth0 3\n", "lo 0"),
            (
                "rdma.max",
                "mlx5_1 hca_handle=3",
                "mlx4_0 hca_handle=2 hca_object=9\nmlx5_1 hca_handle=max hca_object=9\n",
                "mlx5_1 hca_handle=max hca_object=9",
            ),
        ] {
            assert_eq!(as_written(file_named(name).read_back, line, now), old, "{name}: {line} over {now:?}");
        }
        let now = "    L3:0=7ff;1=7ff\n    MB:0=100;1=100\n";
        assert_eq!(as_written(ReadBack::Schemata, "MB:0=20", now), "MB:0=100;1=100");
    }
}
