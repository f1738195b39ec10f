// The stopwatch of hack/bench: starts commands one at a time and reports what
// each cost. It is a separate static program, and not a part of the Python
// runner, for two reasons: the kernel carries the peak memory of a process
// across exec, so a command started by an interpreter of 10 MB would never
// report less; and the interval from vfork to wait4 must have nothing else in
// it. Everything is parsed and ready before the clock starts.
//
// Requests come on descriptor 3, one a line, fields separated by tabs; answers
// go to descriptor 4:
//   run IDLE_US TIMEOUT_MS ARG...   ->  status wall_ns cpu_us peak_kib
//   drain TIMEOUT_MS                ->  count cpu_us peak_kib
// `run` sleeps IDLE_US, then starts ARG... and waits for it. `drain` waits for
// what a detached command left behind: as a subreaper we inherit a container's
// init and, once it has exited, learn its CPU time from the kernel like that of
// any child. A command that exceeds its time is killed; its status is then 124.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t expired;

static void on_alarm(int sig) {
    (void)sig;
    expired = 1;
}

// The interval repeats, so that a signal which falls between the check of
// `expired` and the wait is followed by another.
static void deadline(long ms) {
    struct itimerval t = {{0, 100000}, {ms / 1000, ms % 1000 * 1000}};
    if (ms == 0) memset(&t, 0, sizeof t);
    else expired = 0;
    setitimer(ITIMER_REAL, &t, 0);
}

static long cpu_us(const struct rusage *u) {
    return (u->ru_utime.tv_sec + u->ru_stime.tv_sec) * 1000000L + u->ru_utime.tv_usec + u->ru_stime.tv_usec;
}

static long long now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void run(long idle_us, long timeout_ms, char **argv) {
    struct timespec idle = {idle_us / 1000000, idle_us % 1000000 * 1000};
    struct rusage use;
    int status;
    if (idle_us) nanosleep(&idle, 0);
    deadline(timeout_ms);
    long long begin = now_ns();
    pid_t pid = vfork();
    if (pid == 0) {
        execv(argv[0], argv);
        _exit(127);
    }
    while (wait4(pid, &status, 0, &use) < 0 && errno == EINTR)
        if (expired) kill(pid, SIGKILL);
    long long end = now_ns();
    deadline(0);
    int code = expired ? 124 : WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    dprintf(4, "%d %lld %ld %ld\n", code, end - begin, cpu_us(&use), use.ru_maxrss);
}

static void drain(long timeout_ms) {
    struct rusage use;
    long count = 0, cpu = 0, peak = 0;
    deadline(timeout_ms);
    while (!expired) {
        pid_t pid = wait4(-1, 0, 0, &use);
        if (pid < 0 && errno == ECHILD) break;
        if (pid < 0) continue;
        count++;
        cpu += cpu_us(&use);
        if (use.ru_maxrss > peak) peak = use.ru_maxrss;
    }
    deadline(0);
    dprintf(4, "%ld %ld %ld\n", expired ? -1 : count, cpu, peak);
}

int main(void) {
    static char line[1 << 16];
    char *arg[256];
    struct sigaction alarm_action = {.sa_handler = on_alarm}; // no SA_RESTART: wait4 must return
    sigaction(SIGALRM, &alarm_action, 0);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    // The commands must not inherit the two control pipes.
    FILE *in = fdopen(3, "re");
    if (!in || fcntl(3, F_SETFD, FD_CLOEXEC) || fcntl(4, F_SETFD, FD_CLOEXEC)) return 1;
    while (fgets(line, sizeof line, in)) {
        int n = 0;
        line[strcspn(line, "\n")] = 0;
        for (char *p = line; p && n < 255;) arg[n++] = strsep(&p, "\t");
        arg[n] = 0;
        if (n > 3 && !strcmp(arg[0], "run")) run(atol(arg[1]), atol(arg[2]), arg + 3);
        else if (n == 2 && !strcmp(arg[0], "drain")) drain(atol(arg[1]));
        else return 2;
    }
    return 0;
}
