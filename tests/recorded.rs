//! The configs that engines really wrote (tests/data/configs), started as real containers: what is of the
//! recording machine (root, sources of binds, joined namespaces, cgroup, hooks) is swapped for something of
//! this one, the rest is as recorded; and the program looks whether it has got what the config says.

mod common;

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use common::recorded::localized;
use common::{Bundle, Done, mount_lines, mounted_on};

/// What is run in the place of the program.
const LOOK: &str = "echo \"uid $(id -u)\"; echo \"gid $(id -g)\"; echo \"host $(hostname)\"; echo \"cwd $(pwd)\"; \
                    echo \"umask $(umask)\"; echo \"oom $(cat /proc/self/oom_score_adj)\"; \
                    [ -t 0 ] && echo terminal; sed 's/^/status /' /proc/self/status; \
                    sed 's/^/limit /' /proc/self/limits; sed 's/^/mount /' /proc/self/mountinfo; \
                    for file in /etc/hosts /etc/resolv.conf /etc/hostname; do sed \"s|^|$file |\" $file; done; env | sed 's/^/env /'";

/// `run`, on a terminal if the config wants one.
fn run(bundle: &Bundle) -> Done {
    if bundle.config["process"]["terminal"] != json!(true) {
        return bundle.run();
    }
    let command = bundle.command(&["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let line: Vec<_> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    // Whoever types does not leave: at the end of the input script(1) would end, too.
    let (keyboard, _open) = std::io::pipe().unwrap();
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line.join(" "), "/dev/null"]).stdin(keyboard);
    let done = Done::new(script.output().unwrap());
    // What goes to the terminal comes back as one stream.
    Done { stdout: done.stdout.replace('\r', ""), stderr: done.stderr + &done.stdout, ..done }
}

/// The lines of the program that begin with a word, without it.
fn said<'a>(output: &'a str, word: &str) -> Vec<&'a str> {
    output.lines().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' ')).collect()
}

/// A line of /proc/self/status.
fn status<'a>(output: &'a str, name: &str) -> &'a str {
    let line = said(output, "status").into_iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
    line.unwrap_or_else(|| panic!("no {name} in {output}"))
}

fn mask(names: &Value) -> u64 {
    let known = ferrun::types::capabilities::all();
    let number = |name: &Value| known.iter().position(|known| *known == name.as_str().unwrap()).unwrap();
    names.as_array().into_iter().flatten().fold(0, |mask, name| mask | 1 << number(name))
}

fn hex(text: &str) -> u64 {
    u64::from_str_radix(text, 16).unwrap()
}

/// Fails unless the program has found what the config says.
fn compare(config: &Value, output: &str) {
    let process = &config["process"];
    let one = |word: &str| said(output, word).first().map(|word| (*word).to_owned()).unwrap_or_default();
    assert_eq!(one("uid"), process["user"]["uid"].to_string());
    assert_eq!(one("gid"), process["user"]["gid"].to_string());
    assert_eq!(one("cwd"), process["cwd"].as_str().unwrap());
    assert_eq!(u64::from_str_radix(&one("umask"), 8).unwrap(), process["user"]["umask"].as_u64().unwrap_or(0o022));
    if let Some(hostname) = config["hostname"].as_str().filter(|name| !name.is_empty()) {
        assert_eq!(one("host"), hostname);
    }
    if let Some(score) = process["oomScoreAdj"].as_i64() {
        assert_eq!(one("oom"), score.to_string());
    }
    assert_eq!(output.contains("\nterminal\n"), process["terminal"] == json!(true), "a terminal");
    assert_eq!(status(output, "NoNewPrivs"), if process["noNewPrivileges"] == json!(true) { "1" } else { "0" });
    assert_eq!(status(output, "Seccomp"), if config["linux"]["seccomp"].is_object() { "2" } else { "0" });
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let own = hex(own.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap());
    let bounding = mask(&process["capabilities"]["bounding"]) & own;
    assert_eq!(hex(status(output, "CapBnd")), bounding, "the bounding set");
    if process["user"]["uid"] == json!(0) {
        assert_eq!(hex(status(output, "CapEff")), bounding, "root's effective set");
    }
    for entry in process["env"].as_array().unwrap() {
        let entry = entry.as_str().unwrap();
        assert!(said(output, "env").contains(&entry), "{entry} is not in the environment");
    }
    compare_limits(process, output);
    compare_mounts(config, output);
}

fn compare_limits(process: &Value, output: &str) {
    let names = [("RLIMIT_NOFILE", "Max open files"), ("RLIMIT_NPROC", "Max processes")];
    for limit in process["rlimits"].as_array().into_iter().flatten() {
        let name = names.iter().find(|(name, _)| limit["type"] == json!(name)).unwrap().1;
        let line = said(output, "limit").into_iter().find_map(|line| line.strip_prefix(name)).unwrap();
        let values: Vec<_> = line.split_whitespace().take(2).map(str::to_owned).collect();
        assert_eq!(values, [limit["soft"].to_string(), limit["hard"].to_string()], "{name}");
    }
}

fn compare_mounts(config: &Value, output: &str) {
    let mounts = mount_lines(&said(output, "mount").join("\n"));
    for mount in config["mounts"].as_array().unwrap() {
        let (destination, options) = (mount["destination"].as_str().unwrap(), &mount["options"]);
        let found = mounted_on(&mounts, destination.trim_end_matches('/'));
        let has = |name: &str| options.as_array().into_iter().flatten().any(|option| option == name);
        let kind = mount["type"].as_str().unwrap_or("bind");
        if kind == "cgroup" || has("bind") || has("rbind") || kind == "bind" {
            // Which file system that is depends on the host.
        } else {
            assert_eq!(found.kind, kind, "{destination}");
        }
        for option in ["nosuid", "noexec", "nodev", "ro"].into_iter().filter(|option| has(option)) {
            assert!(found.has(option), "{destination} is not {option}: {found:?}");
        }
        let file = ["/etc/hosts", "/etc/resolv.conf", "/etc/hostname"].contains(&destination);
        if let Some(name) = mount["source"].as_str().and_then(|source| source.rsplit('/').next()).filter(|_| file) {
            assert_eq!(said(output, destination), [name], "{destination} is the engine's");
        }
    }
    assert_eq!(mounted_on(&mounts, "/").has("ro"), config["root"]["readonly"] == json!(true), "the root");
    for path in config["linux"]["maskedPaths"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        // What this kernel has of them.
        if Path::new(path).exists() {
            let mount = mounted_on(&mounts, path);
            assert!(mount.root == "/null" || mount.kind == "tmpfs", "{path} is not masked: {mount:?}");
        }
    }
}

/// Starts all recorded configs of an engine.
fn start_all(engine: &str) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/configs");
    let mut names: Vec<String> = std::fs::read_dir(dir.clone())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(engine))
        .collect();
    names.sort();
    assert!(names.len() > 4, "the recorded configs are there");
    for name in names {
        let mut bundle = Bundle::new(&["true"]);
        let recorded = serde_json::from_slice(&std::fs::read(dir.join(&name)).unwrap()).unwrap();
        bundle.config = localized(&bundle, recorded);
        bundle.config["process"]["args"] = json!(["/bin/sh", "-c", LOOK]);
        bundle.write();
        eprintln!("{name}");
        let done = run(&bundle);
        compare(&bundle.config, &done.ok());
        bundle.assert_nothing_left(&name);
    }
}

#[test]
fn containers_of_containerd() {
    need_root!();
    start_all("ctr");
}

#[test]
fn containers_of_docker() {
    need_root!();
    start_all("docker");
}

#[test]
fn containers_of_podman() {
    need_root!();
    start_all("podman");
}
