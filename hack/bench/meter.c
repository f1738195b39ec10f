// The stopwatch of hack/bench: starts commands one at a time and reports what
// each cost. It is a separate static program, and not a part of the Python
// runner, for two reasons: the kernel carries the peak memory of a process
// across exec, so a command started by an interpreter of 10 MB would never
// report less; and the interval from vfork to wait4 must have nothing else in
// it. Everything is parsed and ready before the clock starts.
//
// Requests come on descriptor 3, one a line, fields separated by tabs; answers
// go to descriptor 4:
//   run IDLE_US TIMEOUT_MS ARG...   ->  status wall_ns cpu_us peak_kib faults
//   drain TIMEOUT_MS                ->  count cpu_us peak_kib faults status
//   crowd WORKERS COUNT TIMEOUT_MS ARG... ; ARG... ; ...
//                                   ->  failed wall_ns cpu_us peak_kib faults
// `run` sleeps IDLE_US, then starts ARG... and waits for it. `drain` waits for
// what a detached command left behind: as a subreaper we inherit a container's
// init and, once it has exited, learn its CPU time from the kernel like that of
// any child, and the status of the last one. A command that exceeds its time is
// killed; its status is then 124. `crowd` has WORKERS processes run the commands
// for each of COUNT containers, whose numbers replace the % in their words;
// before the last command a worker waits for the container's init. Faults are
// minor page faults.
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

static int status_of(int status) {
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static pid_t start(char **argv) {
    pid_t pid = vfork();
    if (pid == 0) {
        execv(argv[0], argv);
        _exit(127);
    }
    return pid;
}

static void run(long idle_us, long timeout_ms, char **argv) {
    struct timespec idle = {idle_us / 1000000, idle_us % 1000000 * 1000};
    struct rusage use;
    int status;
    if (idle_us) nanosleep(&idle, 0);
    deadline(timeout_ms);
    long long begin = now_ns();
    pid_t pid = start(argv);
    while (wait4(pid, &status, 0, &use) < 0 && errno == EINTR)
        if (expired) kill(pid, SIGKILL);
    long long end = now_ns();
    deadline(0);
    int code = expired ? 124 : status_of(status);
    dprintf(4, "%d %lld %ld %ld %ld\n", code, end - begin, cpu_us(&use), use.ru_maxrss, use.ru_minflt);
}

static void drain(long timeout_ms) {
    struct rusage use;
    long count = 0, cpu = 0, peak = 0, faults = 0;
    int status = 0;
    deadline(timeout_ms);
    while (!expired) {
        pid_t pid = wait4(-1, &status, 0, &use);
        if (pid < 0 && errno == ECHILD) break;
        if (pid < 0) continue;
        count++;
        cpu += cpu_us(&use);
        faults += use.ru_minflt;
        if (use.ru_maxrss > peak) peak = use.ru_maxrss;
    }
    deadline(0);
    dprintf(4, "%ld %ld %ld %ld %d\n", expired ? -1 : count, cpu, peak, faults, status_of(status));
}

// The life of one container; 0 if every command has succeeded.
static int life(int number, char **words) {
    static char text[1 << 16];
    char *argv[256];
    int status;
    while (*words) {
        int n = 0;
        for (char *end = text; *words && strcmp(*words, ";"); words++) {
            const char *word = *words, *mark = strchr(word, '%');
            argv[n++] = end;
            end += mark ? sprintf(end, "%.*s%d%s", (int)(mark - word), word, number, mark + 1) : sprintf(end, "%s", word);
            end++;
        }
        argv[n] = 0;
        if (*words) words++;
        if (!*words) // the init of the container is this worker's by now
            while (wait4(-1, 0, 0, 0) > 0 || errno == EINTR) {}
        pid_t pid = start(argv);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
        if (pid < 0 || status_of(status)) {
            dprintf(2, "%s %s of container %d: status %d\n", argv[0], n > 1 ? argv[1] : "", number, pid < 0 ? -1 : status_of(status));
            return 1;
        }
    }
    return 0;
}

static void crowd(int workers, int count, long timeout_ms, char **words) {
    struct rusage use;
    long failed = 0, cpu = 0, peak = 0, faults = 0;
    pid_t pids[64];
    int status;
    deadline(timeout_ms);
    long long begin = now_ns();
    for (int worker = 0; worker < workers; worker++)
        if ((pids[worker] = fork()) == 0) {
            int bad = 0;
            prctl(PR_SET_CHILD_SUBREAPER, 1);
            for (int number = worker; number < count; number += workers) bad |= life(number, words);
            _exit(bad);
        }
    for (int left = workers; left;) {
        pid_t pid = wait4(-1, &status, 0, &use);
        if (pid < 0 && expired)
            for (int worker = 0; worker < workers; worker++) kill(pids[worker], SIGKILL);
        if (pid < 0) continue;
        cpu += cpu_us(&use);
        faults += use.ru_minflt;
        if (use.ru_maxrss > peak) peak = use.ru_maxrss;
        for (int worker = 0; worker < workers; worker++)
            if (pids[worker] == pid) left--, failed += status_of(status) != 0;
    }
    long long end = now_ns();
    deadline(0);
    dprintf(4, "%ld %lld %ld %ld %ld\n", failed, end - begin, cpu, peak, faults);
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
        else if (n > 4 && !strcmp(arg[0], "crowd")) crowd(atoi(arg[1]), atoi(arg[2]), atol(arg[3]), arg + 4);
        else return 2;
    }
    return 0;
}
