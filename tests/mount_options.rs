//! Every option of `mounts` that ferrun knows by name, on a new tmpfs and on binds of restricted sources:
//! what mount(8) and the table "Linux mount options" of the OCI runtime spec, config.md, say.

mod common;

use std::collections::BTreeSet;

use common::{Bundle, MountLine, mount_lines, mounted_on};
use ferrun::types::mount_options::OPTIONS;
use serde_json::{Value, json};

/// What an option changes: flags of the mount (`+ro -rw`), of the mounts below too if the last column says
/// so, and the flags of the file system that a new tmpfs shows.
type Row = (&'static str, &'static str, &'static str, bool);

const TOP: bool = false;
const ALL: bool = true;

/// `bind`, `rbind`, `remount`, `idmap`, `ridmap` and `tmpcopyup` make another kind of mount and have their
/// own tests; the propagation is in `PROPAGATION`.
const FLAGS: &[Row] = &[
    ("async", "", "", TOP),
    ("atime", "-noatime +relatime", "", TOP),
    ("defaults", "", "", TOP),
    ("dev", "-nodev", "", TOP),
    ("diratime", "-nodiratime", "", TOP),
    ("dirsync", "", "dirsync", TOP),
    ("exec", "-noexec", "", TOP),
    ("iversion", "", "", TOP),
    ("lazytime", "", "lazytime", TOP),
    ("loud", "", "", TOP),
    ("mand", "", "mand", TOP),
    ("noatime", "-relatime +noatime", "", TOP),
    ("nodev", "+nodev", "", TOP),
    ("nodiratime", "+nodiratime", "", TOP),
    ("noexec", "+noexec", "", TOP),
    ("noiversion", "", "", TOP),
    ("nolazytime", "", "", TOP),
    ("nomand", "", "", TOP),
    ("norelatime", "", "", TOP),
    ("nostrictatime", "-noatime +relatime", "", TOP),
    ("nosuid", "+nosuid", "", TOP),
    ("nosymfollow", "+nosymfollow", "", TOP),
    ("ratime", "-noatime +relatime", "", ALL),
    ("rdev", "-nodev", "", ALL),
    ("rdiratime", "-nodiratime", "", ALL),
    ("relatime", "-noatime +relatime", "", TOP),
    ("rexec", "-noexec", "", ALL),
    ("rnoatime", "-relatime +noatime", "", ALL),
    ("rnodev", "+nodev", "", ALL),
    ("rnodiratime", "+nodiratime", "", ALL),
    ("rnoexec", "+noexec", "", ALL),
    ("rnorelatime", "", "", ALL),
    ("rnostrictatime", "-noatime +relatime", "", ALL),
    ("rnosuid", "+nosuid", "", ALL),
    ("rnosymfollow", "+nosymfollow", "", ALL),
    ("ro", "-rw +ro", "", TOP),
    ("rrelatime", "-noatime +relatime", "", ALL),
    ("rro", "-rw +ro", "", ALL),
    ("rrw", "-ro +rw", "", ALL),
    ("rstrictatime", "-noatime -relatime", "", ALL),
    ("rsuid", "-nosuid", "", ALL),
    ("rsymfollow", "-nosymfollow", "", ALL),
    ("rw", "-ro +rw", "", TOP),
    ("silent", "", "", TOP),
    ("strictatime", "-noatime -relatime", "", TOP),
    ("suid", "-nosuid", "", TOP),
    ("symfollow", "-nosymfollow", "", TOP),
    ("sync", "", "sync", TOP),
];

/// Option, what the mount then is, and whether those below are.
const PROPAGATION: &[(&str, &str, bool)] = &[
    ("private", "", TOP),
    ("rprivate", "", ALL),
    ("rshared", "shared master", ALL),
    ("rslave", "master", ALL),
    ("runbindable", "unbindable", ALL),
    ("shared", "shared master", TOP),
    ("slave", "master", TOP),
    ("unbindable", "unbindable", TOP),
];

const OTHERS: &[&str] = &["bind", "idmap", "rbind", "remount", "ridmap", "tmpcopyup"];

/// What the restricted sources are mounted with.
const RESTRICTED: &str = "ro nosuid nodev noexec relatime";
/// What the odd source is mounted with, so that each clearing option has something to clear.
const ODD: &str = "rw noatime nodiratime nosymfollow";

/// Two trees of two mounts each, all shared.
const SOURCES: &str = "
    for tree in restricted odd; do
        mkdir $bundle/$tree; mount -t tmpfs top $bundle/$tree
        mkdir $bundle/$tree/below; mount -t tmpfs below $bundle/$tree/below
        mount --make-rshared $bundle/$tree
    done
    for at in restricted restricted/below; do mount -o remount,bind,ro,nosuid,nodev,noexec $bundle/$at; done
    for at in odd odd/below; do mount -o remount,bind,noatime,nodiratime,nosymfollow $bundle/$at; done";

/// The mounts of a container that has these further entries, in a tmpfs without limits of its own.
fn mounts(entries: &[Value]) -> Vec<MountLine> {
    let bundle = Bundle::sh("cat /proc/self/mountinfo").with(|config| {
        let list = config["mounts"].as_array_mut().unwrap();
        list.push(json!({ "destination": "/m", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"] }));
        list.extend_from_slice(entries);
        config["root"]["readonly"] = json!(false);
    });
    mount_lines(&bundle.run_after(SOURCES).ok())
}

fn tmpfs(destination: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options })
}

fn bind(source: &str, destination: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "source": source, "options": options })
}

/// A set of flags after a change of it.
fn changed(flags: &str, change: &str) -> BTreeSet<String> {
    let mut set: BTreeSet<String> = flags.split(' ').map(str::to_owned).collect();
    for word in change.split(' ').filter(|word| !word.is_empty()) {
        match word.split_at(1) {
            ("+", flag) => drop(set.insert(flag.to_owned())),
            (_, flag) => drop(set.remove(flag)),
        }
    }
    set
}

/// Adds to `wrong` what a mount has and should not have, or the other way round.
fn compare(wrong: &mut String, cell: &str, found: &[String], wanted: &BTreeSet<String>) {
    let found: BTreeSet<String> = found.iter().cloned().collect();
    if found != *wanted {
        *wrong += &format!("{cell}: {found:?} and not {wanted:?}\n");
    }
}

#[test]
fn the_table_of_this_test_has_every_option() {
    let rows = FLAGS.iter().map(|row| row.0).chain(PROPAGATION.iter().map(|row| row.0));
    let tested: BTreeSet<&str> = rows.chain(OTHERS.iter().copied()).collect();
    let known: BTreeSet<&str> = OPTIONS.iter().map(|(name, _)| *name).collect();
    assert_eq!(tested, known);
}

#[test]
fn every_flag_on_every_kind_of_mount() {
    need_root!();
    let mut entries = Vec::new();
    for (option, ..) in FLAGS {
        let at = |kind: &str| format!("/m/{kind}/{option}");
        entries.push(tmpfs(&at("tmpfs"), &[option]));
        entries.push(bind("restricted", &at("bind"), &["bind", option]));
        entries.push(bind("restricted", &at("rbind"), &["rbind", option]));
        entries.push(bind("odd", &at("odd"), &[option, "rbind"]));
    }
    let mounts = mounts(&entries);
    let mut wrong = String::new();
    for (option, change, superblock, all) in FLAGS {
        let below = if *all { *change } else { "" };
        for (path, base, change) in [
            ("tmpfs/#", "rw relatime", *change),
            ("bind/#", RESTRICTED, *change),
            ("rbind/#", RESTRICTED, *change),
            ("rbind/#/below", RESTRICTED, below),
            ("odd/#", ODD, *change),
            ("odd/#/below", ODD, below),
        ] {
            let path = format!("/m/{}", path.replace('#', option));
            compare(&mut wrong, &path, &mounted_on(&mounts, &path).options, &changed(base, change));
        }
        let tmpfs = mounted_on(&mounts, &format!("/m/tmpfs/{option}"));
        let found: Vec<&str> = tmpfs.superblock.iter().map(String::as_str).collect();
        let shown = ["sync", "dirsync", "lazytime", "mand", "ro"].into_iter().filter(|flag| found.contains(flag));
        let shown: Vec<&str> = shown.collect();
        if shown.join(" ") != *superblock {
            wrong += &format!("{option} of the file system: {shown:?} and not {superblock:?}\n");
        }
        let no_submount = format!("/m/bind/{option}/below");
        assert!(mounts.iter().all(|mount| mount.point != no_submount), "{option}: bind takes nothing along");
    }
    assert_eq!(wrong, "");
}

/// The propagation of a mount without the numbers of its peer groups.
fn propagation(mount: &MountLine) -> String {
    let words = mount.propagation.iter().map(|field| field.split(':').next().unwrap());
    words.filter(|word| *word != "propagate_from").collect::<Vec<_>>().join(" ")
}

#[test]
fn every_propagation_on_every_kind_of_mount() {
    need_root!();
    let mut entries = Vec::new();
    for (option, ..) in PROPAGATION {
        let at = |kind: &str| format!("/m/{kind}/{option}");
        entries.push(tmpfs(&at("tmpfs"), &[option]));
        entries.push(bind("restricted", &at("bind"), &["bind", option]));
        entries.push(bind("restricted", &at("rbind"), &["rbind", option]));
    }
    let mounts = mounts(&entries);
    let mut wrong = String::new();
    for (option, wanted, all) in PROPAGATION {
        let none =
            if wanted.contains("master") { wanted.replace("master", "").trim().to_owned() } else { wanted.to_string() };
        let below = if *all { *wanted } else { "master" };
        for (path, wanted) in
            [("tmpfs/#", none.as_str()), ("bind/#", wanted), ("rbind/#", wanted), ("rbind/#/below", below)]
        {
            let path = format!("/m/{}", path.replace('#', option));
            let mount = mounted_on(&mounts, &path);
            let found = propagation(mount);
            if found != wanted {
                wrong += &format!("{path}: {found:?} and not {wanted:?}\n");
            }
            // Nothing but the propagation changes.
            let base = if path.contains("tmpfs") { "rw relatime" } else { RESTRICTED };
            compare(&mut wrong, &path, &mount.options, &changed(base, ""));
        }
    }
    assert_eq!(wrong, "");
}

/// What the mounts are after the same options where all have been shared before: only there a slave can be told from
/// what is left alone.
#[test]
fn every_propagation_of_mounts_that_are_shared() {
    need_root!();
    let at = |option: &str| format!("/m/{option}");
    let options = PROPAGATION.iter().map(|row| row.0);
    let mounts =
        mounts(&options.map(|option| bind("odd", &at(option), &["rbind", "rshared", option])).collect::<Vec<_>>());
    let mut wrong = String::new();
    for (option, wanted, all) in PROPAGATION {
        let below = if *all { wanted } else { "shared master" };
        for (path, wanted) in [(at(option), *wanted), (format!("{}/below", at(option)), below)] {
            let found = propagation(mounted_on(&mounts, &path));
            if found != wanted {
                wrong += &format!("{path}: {found:?} and not {wanted:?}\n");
            }
        }
    }
    assert_eq!(wrong, "");
}

#[test]
fn what_binds_alone_changes_nothing() {
    need_root!();
    let mounts = mounts(&[
        bind("restricted", "/m/bind", &["bind"]),
        bind("restricted", "/m/rbind", &["rbind"]),
        bind("restricted", "/m/rbind-bind", &["rbind", "nosuid", "bind"]),
        bind("restricted", "/m/bind-rbind", &["bind", "rbind"]),
        json!({ "destination": "/m/type", "type": "bind", "source": "odd" }),
        json!({ "destination": "/m/tmpfs", "type": "tmpfs", "source": "odd", "options": ["bind"] }),
    ]);
    let mut wrong = String::new();
    for (path, base) in [
        ("bind", RESTRICTED),
        ("rbind", RESTRICTED),
        ("rbind/below", RESTRICTED),
        ("rbind-bind", RESTRICTED),
        ("rbind-bind/below", RESTRICTED),
        ("bind-rbind/below", RESTRICTED),
        ("type", ODD),
        ("tmpfs", ODD),
    ] {
        let path = format!("/m/{path}");
        compare(&mut wrong, &path, &mounted_on(&mounts, &path).options, &changed(base, ""));
    }
    assert_eq!(wrong, "");
    for path in ["/m/bind/below", "/m/type/below", "/m/tmpfs/below"] {
        assert!(mounts.iter().all(|mount| mount.point != path), "{path}");
    }
}

#[test]
fn the_later_of_two_options_wins_and_what_is_recursive_holds_last() {
    need_root!();
    let rows: &[(&[&str], &str, &str)] = &[
        (&["ro", "rw"], "-ro +rw", ""),
        (&["rw", "ro"], "", ""),
        (&["suid", "nosuid", "dev"], "-nodev", ""),
        (&["noatime", "strictatime"], "-relatime", ""),
        (&["strictatime", "relatime", "nodiratime"], "+nodiratime", ""),
        (&["rro", "rw"], "", ""),
        (&["ro", "rrw"], "-ro +rw", "-ro +rw"),
        (&["rrw", "rro", "rsuid"], "-nosuid", "-nosuid"),
        (&["rnoatime", "rstrictatime"], "-relatime", "-relatime"),
        (&["exec", "rdev", "rprivate"], "-noexec -nodev", "-nodev"),
    ];
    let at = |index: usize| format!("/m/{index}");
    let entries = rows.iter().enumerate();
    let entries =
        entries.map(|(index, (options, ..))| bind("restricted", &at(index), &[&["rbind"], *options].concat()));
    let mounts = mounts(&entries.collect::<Vec<_>>());
    let mut wrong = String::new();
    for (index, (options, top, below)) in rows.iter().enumerate() {
        let found = |path: &str| mounted_on(&mounts, path).options.clone();
        compare(&mut wrong, &format!("{options:?}"), &found(&at(index)), &changed(RESTRICTED, top));
        let path = format!("{}/below", at(index));
        compare(&mut wrong, &format!("below {options:?}"), &found(&path), &changed(RESTRICTED, below));
    }
    assert_eq!(wrong, "");
}

#[test]
fn the_later_of_two_flags_of_a_file_system_wins() {
    need_root!();
    let rows: &[(&[&str], &str)] = &[
        (&["sync", "async"], ""),
        (&["async", "sync"], "sync"),
        (&["lazytime", "nolazytime"], ""),
        (&["nolazytime", "lazytime"], "lazytime"),
        (&["mand", "nomand"], ""),
        (&["nomand", "mand"], "mand"),
    ];
    let entries = rows.iter().enumerate().map(|(index, (options, _))| tmpfs(&format!("/m/{index}"), options));
    let mounts = mounts(&entries.collect::<Vec<_>>());
    for (index, (options, wanted)) in rows.iter().enumerate() {
        let found = mounted_on(&mounts, &format!("/m/{index}")).superblock.iter().map(String::as_str);
        let shown: Vec<&str> = found.filter(|flag| ["sync", "lazytime", "mand"].contains(flag)).collect();
        assert_eq!(shown.join(" "), *wanted, "{options:?}");
    }
}

#[test]
fn a_file_system_that_is_mounted_read_only_is_told() {
    need_root!();
    let overlay = |destination: &str, options: &str| {
        let mut options: Vec<&str> = options.split(' ').collect();
        options.push("lowerdir=/bin:/tmp");
        json!({ "destination": destination, "type": "overlay", "source": "overlay", "options": options })
    };
    let layers = Bundle::sh("true");
    let upper = |number: u32| {
        let (upper, work) = (format!("layers/upper{number}"), format!("layers/work{number}"));
        [upper, work].iter().for_each(|name| std::fs::create_dir_all(layers.dir.join(name)).unwrap());
        format!("upperdir={0}/layers/upper{number} workdir={0}/layers/work{number}", layers.dir.display())
    };
    let mounts = mounts(&[
        overlay("/m/ro", &format!("ro {}", upper(1))),
        overlay("/m/rw", &upper(2)),
        overlay("/m/lower", "rw"),
        tmpfs("/m/tmpfs", &["ro"]),
    ]);
    let found = ["/m/ro", "/m/rw", "/m/lower", "/m/tmpfs"].map(|path| {
        let mount = mounted_on(&mounts, path);
        (mount.options[0].clone(), mount.superblock[0].clone())
    });
    // An overlay without an upper layer makes itself read-only, its mount is not; a tmpfs of the container's alone
    // may be changed later.
    let wanted = [("ro", "ro"), ("rw", "rw"), ("rw", "ro"), ("ro", "rw")];
    assert_eq!(found, wanted.map(|(mount, superblock)| (mount.to_owned(), superblock.to_owned())));
}

#[test]
fn remount_changes_an_earlier_mount() {
    need_root!();
    let remount = |destination: &str, options: &[&str]| {
        let options = [&["remount"], options].concat();
        json!({ "destination": destination, "type": "tmpfs", "options": options })
    };
    let mounts = mounts(&[
        tmpfs("/m/a", &["nosuid", "size=64k"]),
        remount("/m/a", &["ro", "noexec", "size=128k"]),
        tmpfs("/m/b", &["ro", "nodev"]),
        bind("", "/m/b", &["remount", "bind", "nosuid"]),
        bind("odd", "/m/c", &["rbind"]),
        remount("/m/c", &["rro", "symfollow"]),
        bind("odd", "/m/d", &["bind"]),
        remount("/m/d", &["ro"]),
        tmpfs("/m/e", &["ro"]),
        remount("/m/e", &["rw", "private"]),
    ]);
    let mut wrong = String::new();
    for (path, base, change) in [
        ("/m/a", "ro nosuid noexec relatime", ""),
        ("/m/b", "ro nosuid nodev relatime", ""),
        ("/m/c", ODD, "-rw +ro -nosymfollow"),
        ("/m/c/below", ODD, "-rw +ro"),
        ("/m/d", ODD, "-rw +ro"),
    ] {
        compare(&mut wrong, path, &mounted_on(&mounts, path).options, &changed(base, change));
    }
    assert_eq!(wrong, "");
    let superblock = |path: &str| mounted_on(&mounts, path).superblock.clone();
    assert!(superblock("/m/a").contains(&"ro".into()) && superblock("/m/a").contains(&"size=128k".into()));
    assert_eq!(superblock("/m/d")[0], "rw", "the file system of a bind is the host's");
}

#[test]
fn remount_of_what_is_no_mount_is_refused() {
    need_root!();
    for (entry, reason) in [
        (json!({ "destination": "/etc", "type": "tmpfs", "options": ["remount", "ro"] }), "EINVAL /mounts/7"),
        (json!({ "destination": "/etc", "options": ["remount", "bind"] }), "EINVAL /mounts/7"),
        (json!({ "destination": "/none", "type": "tmpfs", "options": ["remount"] }), "ENOENT /mounts/7"),
        (json!({ "destination": "/proc", "type": "proc", "options": ["remount", "bogus"] }), "EINVAL /mounts/7"),
    ] {
        let bundle = Bundle::sh("true").with(|config| config["mounts"].as_array_mut().unwrap().push(entry));
        bundle.run().fails(reason);
        bundle.assert_nothing_left(reason);
    }
    // A bind of the host's keeps its file system, whatever is asked for and whatever it covers.
    for (covered, pointer) in [(None, "/mounts/8"), (Some(tmpfs("/tmp", &[])), "/mounts/9")] {
        let bundle = Bundle::sh("true").with(|config| {
            let list = config["mounts"].as_array_mut().unwrap();
            list.extend(covered);
            list.push(bind("odd", "/tmp", &["bind"]));
            list.push(json!({ "destination": "/tmp", "type": "tmpfs", "options": ["remount", "sync"] }));
        });
        bundle.run_after(SOURCES).fails(pointer);
    }
}

#[test]
fn options_that_a_mount_cannot_have_are_refused() {
    need_root!();
    for (entry, reason) in [
        (tmpfs("/m", &["idmap"]), "/mounts/7/options"),
        (tmpfs("/m", &["ridmap"]), "/mounts/7/options"),
        (bind("rootfs/tmp", "/m", &["bind", "tmpcopyup"]), "/mounts/7/options"),
        (json!({ "destination": "/m", "type": "proc", "options": ["tmpcopyup"] }), "/mounts/7/options"),
        (bind("rootfs/tmp", "/m", &["bind", "size=4k"]), "/mounts/7/options/1"),
        (tmpfs("/m", &["Nosuid"]), "EINVAL /mounts/7"),
        (tmpfs("/m", &["size=4k", "rsymfollow=1"]), "EINVAL /mounts/7"),
    ] {
        let bundle = Bundle::sh("true").with(|config| {
            config["mounts"].as_array_mut().unwrap().push(entry);
            config["root"]["readonly"] = json!(false);
        });
        bundle.run().fails(reason);
    }
}
