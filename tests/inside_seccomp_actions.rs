//! Actions that only a program made for them sees: a thread that is killed alone, a tracer that is told.

mod common;

use std::io::Write;
use std::process::{Command, Stdio};

use common::{Bundle, skip};
use serde_json::json;

/// A bundle whose program is this one, and whose profile has an action for mkdir; none: no C compiler.
fn bundle(action: &str, errno: Option<u32>, source: &str) -> Option<Bundle> {
    let names = ["mkdir", "mkdirat"];
    let mut rule = json!({"names": names, "action": action});
    if let Some(errno) = errno {
        rule["errnoRet"] = json!(errno);
    }
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    let bundle = Bundle::new(&["/bin/program"]).set("/linux/seccomp", profile);
    let program = bundle.rootfs().join("bin/program");
    let compiler = Command::new("cc")
        .args(["-static", "-pthread", "-x", "c", "-", "-o"])
        .arg(program)
        .stdin(Stdio::piped())
        .spawn();
    let Ok(mut compiler) = compiler else {
        skip("there is no C compiler for the programs under the filter");
        return None;
    };
    compiler.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
    assert!(compiler.wait().unwrap().success());
    Some(bundle)
}

const THREADS: &str = r#"
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>

static void *other(void *unused)
{
    mkdir("/dev/shm/d", 0700);
    puts("the other goes on");
    return unused;
}

int main(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, other, NULL);
    pthread_join(thread, NULL);
    puts("the first goes on");
    return 0;
}
"#;

#[test]
fn a_thread_is_killed_and_the_others_live() {
    need_root!();
    for (action, status, said) in [
        ("SCMP_ACT_KILL_THREAD", 0, "the first goes on\n"),
        ("SCMP_ACT_KILL", 0, "the first goes on\n"),
        ("SCMP_ACT_KILL_PROCESS", 128 + 31, ""),
        ("SCMP_ACT_ERRNO", 0, "the other goes on\nthe first goes on\n"),
    ] {
        let Some(bundle) = bundle(action, None, THREADS) else { return };
        let done = bundle.run();
        assert_eq!((done.status, done.stdout.as_str()), (status, said), "{action}: {done:?}");
        bundle.assert_nothing_left("run");
    }
}

const TRACER: &str = r#"
#include <signal.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
    unsigned long message = 0;
    int status;
    pid_t child = fork();
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        _exit(mkdir("/dev/shm/d", 0700) == 0 ? 7 : 8);
    }
    waitpid(child, &status, 0);
    ptrace(PTRACE_SETOPTIONS, child, NULL, (void *)PTRACE_O_TRACESECCOMP);
    ptrace(PTRACE_CONT, child, NULL, NULL);
    waitpid(child, &status, 0);
    if (!WIFSTOPPED(status) || status >> 8 != (SIGTRAP | PTRACE_EVENT_SECCOMP << 8))
        return 1;
    ptrace(PTRACE_GETEVENTMSG, child, NULL, &message);
    ptrace(PTRACE_CONT, child, NULL, NULL);
    waitpid(child, &status, 0);
    printf("told %lu, then %d\n", message, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    return 0;
}
"#;

#[test]
fn a_tracer_is_told_with_the_errno_as_its_message() {
    need_root!();
    for errno in [None, Some(4711)] {
        let Some(bundle) = bundle("SCMP_ACT_TRACE", errno, TRACER) else { return };
        assert_eq!(bundle.run().ok(), format!("told {}, then 7", errno.unwrap_or(1)));
        bundle.assert_nothing_left("run");
    }
}
