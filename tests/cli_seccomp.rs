//! `ferrun seccomp`: the listing, the program, and what is said of a profile that is none.

mod common;

use common::{Bundle, Done};
use serde_json::json;

fn ferrun(bundle: &Bundle, args: &[&str]) -> Done {
    bundle.ferrun(&[&["seccomp"], args].concat())
}

#[test]
fn the_filter_of_a_bundle_is_that_of_its_profile() {
    let rule = json!({"names": ["chmod", "no_such_call"], "action": "SCMP_ACT_TRAP"});
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    let bundle = Bundle::new(&["/bin/true"]).set("/linux/seccomp", profile.clone());
    let dir = bundle.dir.to_str().unwrap();
    let (file, program) = (bundle.dir.join("profile.json"), bundle.dir.join("program"));
    std::fs::write(&file, profile.to_string()).unwrap();
    let of_bundle = ferrun(&bundle, &["--bundle", dir]).ok();
    let of_file = ferrun(&bundle, &["--profile", file.to_str().unwrap(), "--bpf", program.to_str().unwrap()]).ok();
    assert_eq!(of_bundle, of_file);
    for part in ["chmod", "syscalls/0", "unknown: no_such_call  /linux/seccomp/syscalls/0/names/1"] {
        assert!(of_file.contains(part), "{part}: {of_file}");
    }
    let length: usize = of_file.split(' ').next().unwrap().parse().unwrap();
    assert_eq!(std::fs::metadata(program).unwrap().len(), 8 * length as u64);
    let listed = ferrun(&bundle, &["--bundle", dir, "--disassemble"]).ok();
    assert!(listed.contains("load the number"), "{listed}");
    assert_eq!(listed.lines().filter(|line| line.contains("  trap")).count(), 2, "{listed}");
}

/// The lines of one range, or of all from it on.
fn lines_from<'a>(listed: &'a str, beginning: &str) -> Vec<&'a str> {
    listed.lines().skip_while(|line| !line.contains(beginning)).collect()
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_listing_names_what_each_architecture_has_and_what_decides() {
    let bundle = Bundle::new(&["/bin/true"]);
    let file = bundle.dir.join("profile.json");
    let list = |default: &str, architectures: &[&str], names: &[&str], action: &str| {
        let rule = json!({"names": names, "action": action});
        let profile = json!({"defaultAction": default, "architectures": architectures, "syscalls": [rule]});
        std::fs::write(&file, profile.to_string()).unwrap();
        ferrun(&bundle, &["--profile", file.to_str().unwrap()]).ok()
    };
    // A range with the last numbers of x86_64 and the first of x32 has the calls of both.
    let listed = list("SCMP_ACT_ALLOW", &["SCMP_ARCH_X32"], &["write"], "SCMP_ACT_TRAP");
    assert_eq!(listed.lines().filter(|line| line.ends_with("0 read                     ")).count(), 2, "{listed}");
    // No rule decides what happens to an architecture that is not listed.
    let listed = list("SCMP_ACT_ALLOW", &[], &["write"], "SCMP_ACT_TRAP");
    let unlisted = lines_from(&listed, "not listed in architectures");
    assert!(!unlisted.is_empty() && !unlisted.iter().any(|line| line.contains("syscalls/")), "{listed}");
    // Nor to one that counts as newer, though it is named.
    let listed = list("SCMP_ACT_ERRNO", &["SCMP_ARCH_X86"], &["read", "socket"], "SCMP_ACT_ALLOW");
    let x86 = listed.split("\nX86 ").nth(1).unwrap();
    let newer = lines_from(x86, "newer than any call");
    let socket = newer.iter().find(|line| line.contains(" socket ")).expect("it is there");
    assert!(!socket.contains("syscalls/"), "{listed}");
}

#[test]
fn what_is_wrong_with_a_profile_is_told_with_its_place() {
    let bundle = Bundle::new(&["/bin/true"]);
    let file = bundle.dir.join("profile.json");
    let tell = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let done = ferrun(&bundle, &["--profile", file.to_str().unwrap()]);
        done.error()
    };
    let said = tell("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\n\"syscalls\":[{\"names\":[\"read\"],\"action\":\"NO\"}]}");
    assert_eq!(said.pointer, "/syscalls/0/action");
    assert!(said.place.ends_with("profile.json:2"), "{said:?}");
    let rule = |errno| {
        let equal = json!([{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]);
        json!({"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno, "args": equal})
    };
    let contradiction = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule(1), rule(2)]});
    let said = tell(&contradiction.to_string());
    assert_eq!(said.to_string(), "/syscalls/1");
    // A whole config, too: it must not pass for a profile that allows everything.
    for text in ["null", "{}", &bundle.config.to_string(), "{"] {
        assert_eq!(tell(text).pointer, "", "{text}");
    }
}
