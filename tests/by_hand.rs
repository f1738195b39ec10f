//! What the README and then docs/by-hand.md have readers type does what they say, on a terminal.

mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Bundle, ferrun_binary, patience};
use nix::pty::openpty;

/// The commands of both pages: the lines of their blocks that are marked as shell. Packages are there already.
fn commands() -> Vec<String> {
    let pages = [include_str!("../README.md"), include_str!("../docs/by-hand.md")];
    let mut lines = Vec::new();
    for block in pages.iter().flat_map(|page| page.split("```sh\n").skip(1)) {
        let (block, _) = block.split_once("```").unwrap();
        lines.extend(block.lines().filter(|line| !line.starts_with("apt-get ")).map(str::to_owned));
    }
    lines
}

/// A script of the pages' commands, which ends with the first that fails. They come without a pause, as they do from a
/// clipboard. The container has an id of its own.
fn script(root: &Path, id: &str) -> String {
    let ferrun = format!("ferrun() {{ {:?} --root {root:?} \"$@\"; }}\n", ferrun_binary());
    let lines = commands().into_iter().map(|line| line.replace(" c1", &format!(" {id}")));
    let lines = lines.map(|line| format!("echo '> {}'\n{line}\n", line.replace('\'', "")));
    format!("set -e\n{ferrun}{}", lines.collect::<String>())
}

#[test]
fn the_pages_do_what_they_say() {
    need_root!();
    let lent = Bundle::new(&["true"]);
    let here = lent.dir.join("by-hand");
    std::fs::create_dir(&here).unwrap();
    let ends = openpty(None, None).unwrap();
    let stream = || Stdio::from(ends.slave.try_clone().unwrap());
    let limit = patience(30).as_secs().to_string();
    let mut command = Command::new("setsid");
    command.args(["--ctty", "timeout", "--foreground", &limit, "sh", "-c", &script(&lent.state_root(), &lent.id)]);
    command.current_dir(&here).stdin(stream()).stdout(stream()).stderr(stream());
    let mut shell = command.spawn().unwrap();
    drop((command, ends.slave));
    let mut screen = File::from(ends.master);
    let mut typing = screen.try_clone().unwrap();
    let mut seen = Vec::new();
    let (mut piece, mut typed) = ([0; 4096], 0);
    while let Ok(length @ 1..) = screen.read(&mut piece) {
        seen.extend_from_slice(&piece[..length]);
        let text = String::from_utf8_lossy(&seen);
        let runs: Vec<&str> = text.split("> ferrun run").skip(1).collect();
        if typed < runs.len() && runs[runs.len() - 1].contains("/ # ") {
            typing.write_all(b"echo in $$\nexit\n").unwrap();
            typed = runs.len();
        }
    }
    let (seen, status) = (String::from_utf8_lossy(&seen), shell.wait().unwrap());
    assert!(status.success(), "{status}:\n{seen}");
    for words in ["in 1\r\n", "\"status\": \"created\"", "sleep 1000"] {
        assert!(seen.contains(words), "{words:?} is not in:\n{seen}");
    }
    assert_eq!(std::fs::read_dir(lent.state_root()).unwrap().count(), 0, "{seen}");
}
