// The floor of hack/bench: the system calls that the default config needs, and
// no others, in the best order we know. It parses no JSON, keeps no state and
// defends against nobody, so it is not a runtime; it is the answer to "how
// little could starting and removing this container cost on this machine?".
//
//   floor -c CGROUP [-m BYTES] ROOTFS PROGRAM [ARG...]   run a container
//   floor -c CGROUP -x PID [-f FILTER] PROGRAM [ARG...]  exec in that of PID
//   floor -c CGROUP -w FIFO ROOTFS PROGRAM [ARG...]      create: the program waits
//   floor -s FIFO                                        start it
//   floor -c CGROUP -d FIFO                              delete what has ended
//
// CGROUP is the container's path below each hierarchy's mount point, BYTES a
// memory limit, FILTER a file with a compiled seccomp filter (a program of the
// kernel's, as `ferrun seccomp --bpf` writes it: exec compiles nothing).
// ROOTFS needs the directories proc, dev and sys.
//
// The config it stands for is the one that `spec` prints, with a cgroup
// namespace. Three things that no config spells but every runtime does are
// included, since a container would miss them: the loopback interface is up,
// and the process has a session and a session keyring of its own.
//
// The order, and what each choice was measured to be worth:
// - Two lanes. The parent makes the v1 cgroups while the child makes namespaces
//   and mounts; the child joins them as late as possible. Same CPU time, up to
//   6 % less wall time than one lane, and the set-up is not charged to the
//   container's memory.
// - The child unshares the network namespace itself: in clone() it would keep
//   the parent waiting for half a millisecond. (Made by the parent and joined
//   with setns: at best 4 % less wall time for 3 % more CPU time; not taken.)
// - The child moves itself with "0" into `tasks`: a thread that moves only
//   itself needs no global lock and no RCU grace period (milliseconds). On v2,
//   clone3 puts it there at birth.
// - Paths inside the rootfs are relative to it; masked directories share one
//   empty tmpfs; pivot_root(".", ".") needs no directory for the old root.
// - create returns when all is set up but the execution. Its init waits in a
//   read of a fifo that it has open for both, so that `start` is an open and a
//   write, and nobody looks a path up in the container. (A signal instead of
//   the fifo: as many calls, since `start` has to find the pid. One socket pair
//   instead of two pipes: a call less, and 1 % more CPU time.)
// - delete knows by EBUSY of the first rmdir whether the container still runs.
//
// exec has the safe order (docs/security.md), which costs a process more: the
// first one enters all but the pid namespace, which setns(2) only sets for its
// children, gives up its rights and descriptors and puts on the filter; its
// sibling, the program's process, is the first that the container can see.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define LEN(array) (sizeof(array) / sizeof((array)[0]))

// ---- Errors and strings ----------------------------------------------------
// Without stdio, which would double the pages that this program touches.
static void die(const char *what) {
    char code[] = ": errno 000\n";
    for (int i = 0, n = errno; i < 3; i++, n /= 10) code[10 - i] = '0' + n % 10;
    write(2, "floor: ", 7);
    write(2, what, strlen(what));
    write(2, code, sizeof code - 1);
    _exit(1);
}

#define TRY(call) ({ long result_ = (call); if (result_ < 0) die(#call); result_; })

// Strings are only ever added: nothing here lives long enough to be freed.
static char arena[16384], *arena_end = arena;

static char *concat(const char *a, const char *b, const char *c) {
    const char *part[] = {a, b, c};
    char *start = arena_end;
    for (unsigned i = 0; i < LEN(part); i++) arena_end = stpcpy(arena_end, part[i]);
    arena_end++;
    return start;
}

// openat, because musl's open adds an fcntl to every O_CLOEXEC.
static int put(const char *path, const char *text, size_t size) {
    int fd = openat(AT_FDCWD, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    int result = write(fd, text, size);
    close(fd);
    return result;
}

// ---- What the container is -------------------------------------------------
static const char *rootfs, *cgroup, *memory_limit, *fifo;
static char **program;
static struct { uint16_t length; uint64_t *insns; } filter; // struct sock_fprog, of struct sock_filter

// The rules that follow "deny all" in every runtime: any device node may be
// made, and the default devices and terminals may be used.
enum { MKNOD = 1, ALL = 7, ANY = -1, BLOCK = 1, CHAR = 2 };
static const struct rule {
    const char *text; // as v1 reads it
    int type, major, minor, access;
} rules[] = {
    {"c *:* m", CHAR, ANY, ANY, MKNOD}, {"b *:* m", BLOCK, ANY, ANY, MKNOD},
    {"c 1:3 rwm", CHAR, 1, 3, ALL},     {"c 1:5 rwm", CHAR, 1, 5, ALL},
    {"c 1:7 rwm", CHAR, 1, 7, ALL},     {"c 1:8 rwm", CHAR, 1, 8, ALL},
    {"c 1:9 rwm", CHAR, 1, 9, ALL},     {"c 5:0 rwm", CHAR, 5, 0, ALL},
    {"c 5:2 rwm", CHAR, 5, 2, ALL},     {"c 136:* rwm", CHAR, 136, ANY, ALL},
};

static const struct { const char *path; int major, minor; } devices[] = {
    {"dev/null", 1, 3},   {"dev/zero", 1, 5},    {"dev/full", 1, 7},
    {"dev/random", 1, 8}, {"dev/urandom", 1, 9}, {"dev/tty", 5, 0},
};

static const struct { const char *path, *target; } links[] = {
    {"dev/fd", "/proc/self/fd"}, {"dev/stdin", "/proc/self/fd/0"}, {"dev/stdout", "/proc/self/fd/1"},
    {"dev/stderr", "/proc/self/fd/2"}, {"dev/ptmx", "pts/ptmx"},
};

static const char *const below_dev[] = {"dev/pts", "dev/shm", "dev/mqueue"};
static const char *const masked[] = {
    "proc/acpi", "proc/asound", "proc/kcore", "proc/keys", "proc/latency_stats",
    "proc/timer_list", "proc/timer_stats", "proc/sched_debug", "sys/firmware", "proc/scsi",
};
static const char *const readonly[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"};

enum { CAPS = 1 << 29 | 1 << 10 | 1 << 5 }; // AUDIT_WRITE, NET_BIND_SERVICE, KILL

// ---- The cgroups of this machine -------------------------------------------
static struct hierarchy {
    const char *name;     // memory
    const char *options;  // memory, or name=systemd
    const char *group;    // /sys/fs/cgroup/memory/CGROUP
    const char *inside;   // sys/fs/cgroup/memory, relative to the rootfs
} v1[32];
static const char *v2_group;
static int v1_count, v2_fd;

// One line a hierarchy, "ID:CONTROLLERS:PATH", however many mounts there are; where they are mounted is no question on
// any distribution. That of v2 is the last one; beside v1 it may be missing.
static void find_hierarchies(void) {
    static char text[4096];
    int fd = TRY(openat(AT_FDCWD, "/proc/self/cgroup", O_RDONLY | O_CLOEXEC));
    char *end = text + TRY(read(fd, text, sizeof text - 1));
    close(fd);
    for (char *line = text, *next; line < end; line = next) {
        char *options = strchr(line, ':') + 1, *name;
        next = strchr(options, '\n') + 1;
        *strchr(options, ':') = 0;
        if (!*options) {
            const char *mount = v1_count ? "/sys/fs/cgroup/unified" : "/sys/fs/cgroup";
            if (access(concat(mount, "/cgroup.procs", ""), F_OK) == 0) v2_group = concat(mount, cgroup, "");
            continue;
        }
        struct hierarchy *h = &v1[v1_count++];
        name = strncmp(options, "name=", 5) ? options : options + 5;
        h->name = name;
        h->options = options;
        h->inside = concat("sys/fs/cgroup/", name, "");
        h->group = concat("/", h->inside, cgroup);
    }
}

// ---- The parent's lane: cgroups --------------------------------------------
static void copy_from_above(const struct hierarchy *h, const char *file) {
    char *above = concat(h->group, "", ""), value[256];
    *strrchr(above, '/') = 0;
    int fd = TRY(openat(AT_FDCWD, concat(above, file, ""), O_RDONLY | O_CLOEXEC));
    int size = TRY(read(fd, value, sizeof value));
    close(fd);
    TRY(put(concat(h->group, file, ""), value, size));
}

static void make_v1(const struct hierarchy *h) {
    TRY(mkdir(h->group, 0755));
    if (strstr(h->name, "cpuset")) { // a new cpuset is empty and takes no process
        copy_from_above(h, "/cpuset.cpus");
        copy_from_above(h, "/cpuset.mems");
    }
    if (strstr(h->name, "memory") && memory_limit)
        TRY(put(concat(h->group, "/memory.limit_in_bytes", ""), memory_limit, strlen(memory_limit)));
    if (strstr(h->name, "devices")) {
        TRY(put(concat(h->group, "/devices.deny", ""), "a", 1));
        int fd = TRY(openat(AT_FDCWD, concat(h->group, "/devices.allow", ""), O_WRONLY | O_CLOEXEC));
        for (unsigned i = 0; i < LEN(rules); i++) TRY(write(fd, rules[i].text, strlen(rules[i].text)));
        close(fd);
    }
}

// On v2 the device rules are a program. The kernel's own headers are not among
// musl's, so its few numbers are spelled out.
static struct insn { uint8_t code, registers; int16_t offset; int32_t value; } insns[128];
static int insn_count;

static void emit(int code, int registers, int offset, int value) {
    insns[insn_count++] = (struct insn){code, registers, offset, value};
}

static void filter_devices(int group_fd) {
    enum { LOAD = 0x61, AND = 0x57, SHIFT = 0x77, COPY = 0xbf, SET = 0xb7, UNEQUAL = 0x55, EXIT = 0x95 };
    emit(LOAD, 0x12, 0, 0); // r2 = the kind of access << 16 | the type of device
    emit(COPY, 0x23, 0, 0);
    emit(AND, 2, 0, 0xffff);
    emit(SHIFT, 3, 0, 16);
    emit(LOAD, 0x14, 4, 0); // r4 = major, r5 = minor
    emit(LOAD, 0x15, 8, 0);
    for (const struct rule *r = rules; r < rules + LEN(rules); r++) {
        int tests = 1 + 3 * (r->access != ALL) + (r->major != ANY) + (r->minor != ANY);
        int last = insn_count + tests + 1; // the rule's EXIT: a test that fails jumps behind it
        emit(UNEQUAL, 2, last - insn_count, r->type);
        if (r->access != ALL) {
            emit(COPY, 0x31, 0, 0);
            emit(AND, 1, 0, ~r->access);
            emit(UNEQUAL, 1, last - insn_count, 0);
        }
        if (r->major != ANY) emit(UNEQUAL, 4, last - insn_count, r->major);
        if (r->minor != ANY) emit(UNEQUAL, 5, last - insn_count, r->minor);
        emit(SET, 0, 0, 1);
        emit(EXIT, 0, 0, 0);
    }
    emit(SET, 0, 0, 0);
    emit(EXIT, 0, 0, 0);
    enum { PROG_LOAD = 5, PROG_ATTACH = 8, CGROUP_DEVICE_PROGRAM = 15, AT_CGROUP_DEVICE = 6, ALLOW_MULTI = 2 };
    struct { uint32_t type, count; uint64_t insns, license, unused[3]; }
        load = {CGROUP_DEVICE_PROGRAM, insn_count, (uintptr_t)insns, (uintptr_t)"GPL", {0}};
    int fd = TRY(syscall(SYS_bpf, PROG_LOAD, &load, sizeof load));
    struct { uint32_t target, program, type, flags; } attach = {group_fd, fd, AT_CGROUP_DEVICE, ALLOW_MULTI};
    TRY(syscall(SYS_bpf, PROG_ATTACH, &attach, sizeof attach));
}

// ---- The child's lane: namespaces, mounts, identity ------------------------
static void mask(const char *path) {
    static const char *empty;
    // A file takes the null device, a directory refuses it; what is absent needs no mask.
    if (mount("dev/null", path, 0, MS_BIND, 0) == 0 || errno == ENOENT) return;
    if (errno != ENOTDIR) die(path);
    if (empty) TRY(mount(empty, path, 0, MS_BIND, 0));
    else TRY(mount("tmpfs", path, "tmpfs", MS_RDONLY, "size=0k"));
    empty = path;
}

static void make_readonly(const char *path) {
    if (mount(path, path, 0, MS_BIND | MS_REC, 0) == 0) TRY(mount(0, path, 0, MS_BIND | MS_REMOUNT | MS_RDONLY, 0));
    else if (errno != ENOENT) die(path);
}

static void make_mounts(void) {
    enum { STRICT = MS_NOSUID | MS_NOEXEC | MS_NODEV };
    TRY(mount("", "/", 0, MS_REC | MS_PRIVATE, 0)); // nothing below may reach the host
    TRY(mount(rootfs, rootfs, 0, MS_BIND | MS_REC, 0));
    TRY(chdir(rootfs));
    umask(0);
    TRY(mount("proc", "proc", "proc", 0, 0));
    TRY(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"));
    for (unsigned i = 0; i < LEN(below_dev); i++) TRY(mkdir(below_dev[i], 0755));
    TRY(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"));
    TRY(mount("shm", "dev/shm", "tmpfs", STRICT, "mode=1777,size=65536k"));
    TRY(mount("mqueue", "dev/mqueue", "mqueue", STRICT, 0));
    TRY(mount("sysfs", "sys", "sysfs", STRICT | MS_RDONLY, 0));
    for (unsigned i = 0; i < LEN(devices); i++)
        TRY(mknod(devices[i].path, S_IFCHR | 0666, makedev(devices[i].major, devices[i].minor)));
    for (unsigned i = 0; i < LEN(links); i++) TRY(symlink(links[i].target, links[i].path));
    for (unsigned i = 0; i < LEN(readonly); i++) make_readonly(readonly[i]);
    for (unsigned i = 0; i < LEN(masked); i++) mask(masked[i]);
    if (v1_count) TRY(mount("cgroup", "sys/fs/cgroup", "tmpfs", STRICT, "mode=755,size=1024k"));
    for (int i = 0; i < v1_count; i++) TRY(mkdir(v1[i].inside, 0755));
}

static void join_v1(void) {
    for (int i = 0; i < v1_count; i++) TRY(put(concat(v1[i].group, "/tasks", ""), "0", 1));
}

static void enter_cgroup_view(void) {
    enum { FLAGS = MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RELATIME | MS_RDONLY };
    if (v1_count == 0) { // the namespace came with clone3
        TRY(mount("cgroup", "sys/fs/cgroup", "cgroup2", FLAGS, 0));
        return;
    }
    TRY(unshare(CLONE_NEWCGROUP)); // only now, since its root is where we are
    for (int i = 0; i < v1_count; i++) {
        TRY(mount("cgroup", v1[i].inside, "cgroup", FLAGS, v1[i].options));
        if (strchr(v1[i].name, ',')) // cpu,cpuacct is also known as cpu and as cpuacct
            for (char *c = strtok(concat(v1[i].name, "", ""), ","); c; c = strtok(0, ","))
                TRY(symlink(v1[i].name, concat("sys/fs/cgroup/", c, "")));
    }
    TRY(mount(0, "sys/fs/cgroup", 0, MS_BIND | MS_REMOUNT | FLAGS, 0));
}

static void leave_host_root(void) {
    TRY(syscall(SYS_pivot_root, ".", "."));
    TRY(umount2(".", MNT_DETACH)); // the old root lies over the new one
    TRY(mount(0, "/", 0, MS_BIND | MS_REMOUNT | MS_RDONLY, 0));
    TRY(chdir("/"));
    umask(022);
}

static void name_and_loopback(void) {
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int fd = TRY(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    TRY(ioctl(fd, SIOCSIFFLAGS, &lo));
    TRY(sethostname("floor", 5));
}

static void give_up_rights(const char *keyring) {
    struct { uint32_t version; int pid; } header = {0x20080522, 0};
    struct { uint32_t effective, permitted, inheritable; } sets[2] = {{CAPS, CAPS, 0}, {0, 0, 0}};
    struct rlimit files = {1024, 1024};
    enum { JOIN_SESSION_KEYRING = 1, SET_MODE_FILTER = 1 };
    TRY(syscall(SYS_keyctl, JOIN_SESSION_KEYRING, keyring));
    TRY(syscall(SYS_setgroups, 0, 0));
    TRY(setrlimit(RLIMIT_NOFILE, &files));
    for (int cap = 0; cap < 64; cap++) // until the kernel knows no more
        if (!(cap < 32 && CAPS >> cap & 1) && prctl(PR_CAPBSET_DROP, cap) < 0) break;
    TRY(syscall(SYS_capset, &header, sets));
    TRY(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    if (filter.length) TRY(syscall(SYS_seccomp, SET_MODE_FILTER, 0, &filter));
}

static void become_program(void) {
    char *environment[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm", 0};
    TRY(setsid());
    execve(program[0], program, environment);
    die(program[0]);
}

static int release[2], ready[2]; // from the parent to the child; of create, back
static int start_fifo;           // where the child of create waits for start

static void run_child(void) {
    char byte;
    TRY(unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET));
    make_mounts();
    if (TRY(read(release[0], &byte, 1)) == 0) _exit(1); // the parent failed, and said so
    join_v1();
    enter_cgroup_view();
    leave_host_root();
    name_and_loopback();
    give_up_rights("_ses.floor");
    if (fifo) {
        TRY(write(ready[1], "", 1));
        TRY(read(start_fifo, &byte, 1));
    }
    become_program();
}

static void read_filter(const char *path) {
    static uint64_t insns[4096]; // as many as the kernel takes
    int fd = TRY(openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC));
    filter.length = TRY(read(fd, insns, sizeof insns)) / sizeof *insns;
    filter.insns = insns;
    close(fd);
}

static void exec_child(int container) {
    join_v1(); // by path, so before the container's mounts replace ours
    enum { OURS = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP };
    TRY(setns(container, OURS | CLONE_NEWPID)); // puts us in the container's root directory, our children in its pid namespace
    give_up_rights(0); // a keyring that nobody finds by a name
    TRY(syscall(SYS_close_range, 3, ~0U, 0));
    // By clone(2): filters look at its flags, and refuse clone3, whose flags they cannot see.
    if (TRY(syscall(SYS_clone, CLONE_PARENT, 0, 0, 0, 0)) == 0) become_program();
    _exit(0);
}

// ---- Both together ---------------------------------------------------------
static pid_t clone_child(uint64_t flags) {
    struct { uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack[3], set_tid[2], cgroup; } args = {
        .flags = flags, .exit_signal = SIGCHLD};
    if (v2_group && (v2_fd = openat(AT_FDCWD, v2_group, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0) {
        args.cgroup = v2_fd;
        args.flags |= 0x200000000; // CLONE_INTO_CGROUP
    }
    return TRY(syscall(SYS_clone3, &args, sizeof args));
}

static int wait_for(pid_t pid) {
    int status;
    TRY(waitpid(pid, &status, 0));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int exec_container(pid_t target) {
    int container = TRY(syscall(SYS_pidfd_open, target, 0));
    pid_t first = clone_child(0);
    if (first == 0) exec_child(container);
    int failed = wait_for(first);
    return failed ? failed : wait_for(-1); // its sibling is our only child now
}

static void remove_cgroups(void) {
    for (int i = 0; i < v1_count; i++) TRY(rmdir(v1[i].group));
    if (v2_group) TRY(rmdir(v2_group));
}

static pid_t make_container(void) {
    TRY(pipe2(release, O_CLOEXEC));
    if (v2_group) TRY(mkdir(v2_group, 0755));
    if (v1_count == 0 && memory_limit)
        TRY(put(concat(v2_group, "/memory.max", ""), memory_limit, strlen(memory_limit)));
    pid_t pid = clone_child(CLONE_NEWPID | (v1_count ? 0 : CLONE_NEWCGROUP));
    if (pid == 0) {
        close(release[1]); // or a dead parent would not be noticed
        run_child();
    }
    for (int i = 0; i < v1_count; i++) make_v1(&v1[i]);
    if (v1_count == 0) filter_devices(v2_fd);
    TRY(write(release[1], "", 1));
    return pid;
}

static int run_container(void) {
    int status = wait_for(make_container());
    remove_cgroups();
    return status;
}

static int create_container(void) {
    char byte;
    TRY(pipe2(ready, O_CLOEXEC));
    TRY(mkfifo(fifo, 0600));
    start_fifo = TRY(openat(AT_FDCWD, fifo, O_RDWR | O_CLOEXEC));
    make_container();
    close(ready[1]); // or a dead child would not be noticed
    return TRY(read(ready[0], &byte, 1)) != 1;
}

static int start_container(void) {
    TRY(write(TRY(openat(AT_FDCWD, fifo, O_WRONLY)), "", 1));
    return 0;
}

static int delete_container(void) {
    remove_cgroups();
    TRY(unlink(fifo));
    return 0;
}

int main(int argc, char **argv) {
    int target = 0, command = 0;
    const char *operand = 0;
    for (int option; (option = getopt(argc, argv, "+c:d:f:m:s:w:x:")) > 0;) {
        if (option == 'c') cgroup = optarg;
        else if (option == 'f') read_filter(optarg);
        else if (option == 'm') memory_limit = optarg;
        else if (strchr("dswx", option)) command = option, operand = optarg;
        else return 2;
    }
    if (command == 'x') target = atoi(operand);
    else fifo = operand;
    if (command == 's') return start_container();
    int words = command == 'd' ? 0 : target ? 1 : 2;
    if (!cgroup || argc - optind < words) die("usage: see the top of floor.c");
    find_hierarchies();
    if (command == 'd') return delete_container();
    if (!target) rootfs = argv[optind++];
    program = argv + optind;
    if (target) return exec_container(target);
    return command == 'w' ? create_container() : run_container();
}
