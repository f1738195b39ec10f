// What runs in the containers of hostile-storm.sh.
//
//   storm attack CANARY KIND...   an init that has an attacker for each KIND; counts their rounds in /tmp/KIND
//   storm say [MILLISECONDS]      what exec runs: prints who it is, waits, and exits with 42
//
// CANARY is a directory of the host. What is found of it, of the caller of exec and of the runtime is in /tmp/seen.
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEY "FERRUN_HOSTILE_KEY="
#define PICK(list) ((list)[rand() % (sizeof(list) / sizeof *(list))])

static const char *canary; // beginning with a slash
static char secret[4096], up[4096];
static int proc, seen; // the container's /proc, whatever is mounted on it, and the report

static void pause_up_to(int microseconds) { usleep(rand() % microseconds); }

static void note(const char *what, const char *text) {
	static char last[64][300];
	static int next;
	char line[300];
	int length = snprintf(line, sizeof line, "%s %.200s\n", what, text);
	for (int i = 0; i < 64; i++)
		if (!strcmp(last[i], line)) return;
	strcpy(last[next++ % 64], line);
	if (write(seen, line, length) < 0) errno = 0;
}

static void put(const char *path, const char *text, size_t length) {
	int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_CLOEXEC, 0644);
	if (file < 0) return;
	if (write(file, text, length) < 0) errno = 0;
	close(file);
}

static void put_text(const char *path, const char *text) { put(path, text, strlen(text)); }

// Puts something that is neither a list nor a directory in the place of a path.
static void create_odd(const char *path) {
	switch (rand() % 8) {
	case 0: mkfifo(path, 0666); break;
	case 1: if (symlink(secret, path)) errno = 0; break;
	case 2: if (symlink(up, path)) errno = 0; break;
	case 3: mkdir(path, 0755); break;
	case 4: mknod(path, S_IFCHR | 0666, makedev(1, 5)); break; // zero
	case 5: mknod(path, S_IFSOCK | 0666, 0); break;
	case 6: if (symlink("/proc/self/environ", path)) errno = 0; break;
	case 7: if (symlink("/proc/self/pagemap", path)) errno = 0; break;
	}
}

static void take_place(const char *new, const char *path) {
	if (!rename(new, path)) return;
	if (rmdir(path)) unlink(path);
	rename(new, path);
}

// ---- /etc/passwd and /etc/group ----

static const char *const good[] = {"root:x:0:0::/:\nstorm:x:1000:1000::/home/storm:\n", "storm:x:2000:2000::/:\nroot:x:0:0::/:\n"};
static const char *const bad[] = {"storm:x:-1:-1::/:\n", "storm:x:4294967295:4294967295::/:\n", "storm:x:4294967296:4294967296::/:\n",
	"storm:x:0x0:0x0::/:\n", "storm:x:::/:\n", "storm:x: 0: 0::/:\n", "storm:x:+0:+0::/:\n", "storm\n", "storm:\n", "storm:x:\n", "",
	"storm:x:1000:storm\n", ":::::::\n\n\n:\n"};

static void rewrite_users(void) {
	static const char *const lists[] = {"/etc/passwd", "/etc/group"};
	const char *path = PICK(lists), *text = PICK(good), *new = "/etc/.new";
	rmdir(new), unlink(new);
	int kind = rand() % 16;
	if (kind < 8) put_text(new, text);
	else if (kind == 8) put_text(new, PICK(bad));
	else if (kind == 9) put_text(path, text); // read while it is half
	else if (kind == 10) put_text(new, "storm:x:"), truncate(new, 1L << 40) ? errno = 0 : 0;
	else if (kind == 11) {
		static char line[900 << 10];
		memset(line, 'x', sizeof line);
		line[sizeof line - 100] = '\n', strcpy(line + sizeof line - 99, text);
		put_text(new, line);
	} else create_odd(new);
	take_place(new, path);
	pause_up_to(kind < 8 ? 20000 : 5000);
}

// ---- mounts, and the working directory ----

static void fake_proc(void) {
	char name[64];
	const char *const directories[] = {"self", "self/fd", "self/ns", "self/attr", "thread-self", "thread-self/fd", "sys", "1", "1/ns"};
	if (chdir("/proc")) return;
	for (size_t i = 0; i < sizeof directories / sizeof *directories; i++) mkdir(directories[i], 0755);
	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof name, "%s/fd/%d", i % 2 ? "self" : "thread-self", i / 2);
		if (symlink(secret, name)) errno = 0;
	}
	mkfifo("self/status", 0666), mkfifo("self/attr/exec", 0666), mkfifo("self/uid_map", 0666), mkfifo("self/cgroup", 0666);
	if (symlink(secret, "self/oom_score_adj") || chdir("/")) errno = 0;
}

static void mount_over(void) {
	static const char *const targets[] = {"/proc", "/proc", "/proc/self", "/proc/1", "/proc/sys", "/proc/self/attr", "/dev/null", "/dev/pts",
		"/dev", "/etc", "/etc/passwd", "/work", "/work/dir", "/work/dir"};
	static const char *const sources[] = {"/tmp/fifo", "/tmp/empty", "/bin", "/etc"};
	const char *target = PICK(targets);
	int failed = rand() % 2 ? mount("none", target, "tmpfs", 0, "size=1m") : mount(PICK(sources), target, 0, MS_BIND | MS_REC, 0);
	if (failed) return;
	if (!strcmp(target, "/proc")) fake_proc();
	pause_up_to(3000);
	while (umount2(target, MNT_DETACH) && errno == EBUSY) usleep(100);
	pause_up_to(3000);
}

static void exchange_directory(void) {
	const char *path = "/work/dir", *new = "/work/new", *links[] = {canary, up, "/proc/1/cwd", "/proc/self/fd/5", "/proc/self/fd/7", "..", "dir"};
	rmdir(new), unlink(new);
	int kind = rand() % 12;
	if (kind < 4) mkdir(new, kind ? 0755 : 0);
	else if (kind < 8) symlink(PICK(links), new) ? errno = 0 : 0;
	else if (kind < 10) create_odd(new);
	if (kind == 11) rename(path, "/work/old"), rmdir("/work/old");
	else if (kind > 6) take_place(new, path);
	else for (int i = 0; i < 100; i++) renameat2(AT_FDCWD, new, AT_FDCWD, path, RENAME_EXCHANGE);
	if (kind > 2) {
		pause_up_to(2000);
		if (rmdir(path)) unlink(path);
		mkdir(path, 0755);
	}
	pause_up_to(10000);
}

// ---- cgroups ----

static int put_in(const char *group, const char *file, const char *text) {
	char path[512];
	snprintf(path, sizeof path, "%s/%s", group, file);
	int opened = open(path, O_WRONLY | O_CLOEXEC);
	if (opened < 0) return 0;
	int done = write(opened, text, strlen(text)) > 0;
	close(opened);
	return done;
}

static void move_among_cgroups(void) {
	static char hierarchies[16][256];
	static int number;
	DIR *directory;
	if (!number && (directory = opendir("/sys/fs/cgroup"))) {
		mkdir("/tmp/v2", 0755);
		if (!mount("none", "/tmp/v2", "cgroup2", 0, 0)) strcpy(hierarchies[number++], "/tmp/v2");
		for (struct dirent *entry; number < 16 && (entry = readdir(directory));)
			if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
				snprintf(hierarchies[number++], 256, "/sys/fs/cgroup/%.200s", entry->d_name);
		closedir(directory);
	}
	if (!number) return;
	const char *top = hierarchies[rand() % number], *const names[] = {"a", "b", "storm", "."}, *name = PICK(names);
	char group[512], text[4096];
	int own = !strcmp(name, "."), what = rand() % 6;
	snprintf(group, sizeof group, "%s/%s", top, name);
	mkdir(group, 0755);
	snprintf(text, sizeof text, "%s/cgroup.procs", top);
	int file = open(text, O_RDONLY | O_CLOEXEC);
	ssize_t length = file < 0 ? 0 : read(file, text, sizeof text - 1);
	close(file);
	text[length > 0 ? length : 0] = 0;
	for (char *rest = text, *pid; (pid = strsep(&rest, "\n")) && *pid;)
		if (what == 0 || rand() % 2) put_in(group, "cgroup.procs", pid);
	put_in(group, "cgroup.procs", "0");
	switch (what) {
	case 0: // which it can only where it has no processes of its own
		if (put_in(top, "cgroup.subtree_control", "+hugetlb")) note("delegated", top), pause_up_to(5000);
		put_in(top, "cgroup.subtree_control", "-hugetlb");
		break;
	case 1: if (!own) put_in(group, "cgroup.type", "threaded"); break;
	case 2:
		put_in(top, "cgroup.procs", "0"); // who is frozen does not thaw
		if (own) break;
		put_in(group, "cgroup.freeze", "1"), put_in(group, "freezer.state", "FROZEN"), pause_up_to(2000);
		put_in(group, "cgroup.freeze", "0"), put_in(group, "freezer.state", "THAWED");
		break;
	case 3: put_in(group, "pids.max", "1"), pause_up_to(2000), put_in(group, "pids.max", "max"); break;
	}
	for (int i = 0; i < 3; i++) {
		snprintf(group, sizeof group, "%s/%s", top, names[i]);
		if (rand() % 3 == 0) rmdir(group);
	}
	pause_up_to(3000);
}

// ---- every new process ----

// What leads out of the root is the host's.
static void look_below(int number) {
	const char *paths[] = {secret, secret + 1, up, "secret", "../secret"};
	char text[64];
	for (int i = 0; i < 5; i++) {
		int file = openat(number, paths[i], O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		ssize_t length = file < 0 ? 0 : read(file, text, sizeof text - 1);
		if (file >= 0) close(file);
		if (length > 0) text[length] = 0, note("below", text);
	}
}

static void look_at_link(int pid, const char *name) {
	char path[64], link[4096];
	snprintf(path, sizeof path, "%d/%s", pid, name);
	ssize_t length = readlinkat(proc, path, link, sizeof link - 1);
	if (length < 0) return;
	link[length] = 0;
	if (!strncmp(link, "socket:", 7)) link[7] = 0; // one is like the other
	note(isdigit(name[3] & 0x7f) ? "fd" : name, link);
	int opened = openat(proc, path, O_PATH | O_CLOEXEC);
	if (opened < 0) return;
	look_below(opened);
	close(opened);
}

// Takes a descriptor; of a socket the kernel gives one of the process that made it, wherever that is (SO_PEERPIDFD).
static void ask_whose(int pid, int number) {
	int process = syscall(SYS_pidfd_open, pid, 0);
	int taken = process < 0 ? -1 : syscall(SYS_pidfd_getfd, process, number, 0), peer;
	socklen_t length = sizeof peer;
	if (taken >= 0 && !getsockopt(taken, SOL_SOCKET, 77, &peer, &length)) note("peer", "of a socket"), close(peer);
	if (taken >= 0) close(taken);
	if (process >= 0) close(process);
}

// Keeps the program's file, and tries to write to it when nobody executes it any more.
static void keep_exe(int pid) {
	static int kept[8];
	static unsigned next;
	char path[64], link[4096];
	snprintf(path, sizeof path, "%d/exe", pid);
	ssize_t length = readlinkat(proc, path, link, sizeof link - 1);
	if (length < 0 || (link[length] = 0, !strcmp(link, "/bin/storm"))) return;
	int *place = &kept[next++ % 8];
	if (*place) {
		snprintf(path, sizeof path, "self/fd/%d", *place);
		int file = openat(proc, path, O_WRONLY | O_CLOEXEC);
		if (file >= 0) note("writable", link), close(file);
		close(*place);
	}
	snprintf(path, sizeof path, "%d/exe", pid);
	*place = openat(proc, path, O_PATH | O_CLOEXEC);
	if (*place < 0) *place = 0;
}

static void search(const char *what, const char *text, size_t length) {
	const char *found = memmem(text, length, KEY, strlen(KEY));
	if (found && (size_t)(found - text) + 64 < length) note(what, found + strlen(KEY));
}

static void look_at_memory(int pid) {
	static char maps[64 << 10], text[1 << 20];
	char path[64];
	snprintf(path, sizeof path, "%d/maps", pid);
	int file = openat(proc, path, O_RDONLY | O_CLOEXEC);
	ssize_t length = file < 0 ? 0 : read(file, maps, sizeof maps - 1);
	close(file);
	maps[length > 0 ? length : 0] = 0;
	snprintf(path, sizeof path, "%d/mem", pid);
	int memory = openat(proc, path, O_RDONLY | O_CLOEXEC);
	for (char *rest = maps, *line; memory >= 0 && (line = strsep(&rest, "\n"));) {
		unsigned long begin, end;
		if (sscanf(line, "%lx-%lx", &begin, &end) != 2) continue;
		length = pread(memory, text, end - begin < sizeof text ? end - begin : sizeof text, begin);
		if (length > 0) search("memory", text, length);
	}
	close(memory);
}

static void look_at(int pid) {
	char path[64], text[4096];
	look_at_link(pid, "exe"), look_at_link(pid, "cwd"), look_at_link(pid, "root");
	for (int i = 3; i < 40; i++) snprintf(path, sizeof path, "fd/%d", i), look_at_link(pid, path), ask_whose(pid, i);
	keep_exe(pid);
	snprintf(path, sizeof path, "%d/environ", pid);
	int file = openat(proc, path, O_RDONLY | O_CLOEXEC);
	ssize_t length = file < 0 ? 0 : read(file, text, sizeof text);
	close(file);
	if (length > 0) search("environ", text, length);
}

static void seize(int pid) {
	if (ptrace(PTRACE_SEIZE, pid, 0, 0)) return;
	if (!ptrace(PTRACE_INTERRUPT, pid, 0, 0)) {
		int status, found = 0;
		for (int i = 0; i < 3000 && !found; i++) found = waitpid(pid, &status, __WALL | WNOHANG), found ? 0 : usleep(100);
		if (found == pid && !WIFSTOPPED(status)) return;
		char path[64], link[256];
		snprintf(path, sizeof path, "%d/exe", pid);
		ssize_t length = readlinkat(proc, path, link, sizeof link - 1);
		link[length > 0 ? length : 0] = 0;
		look_at(pid), look_at_memory(pid);
		note("seized", link);
	}
	while (ptrace(PTRACE_DETACH, pid, 0, 0) && errno == ESRCH && !kill(pid, 0) && waitpid(pid, 0, __WALL | WNOHANG) == 0) usleep(100);
}

static int last_pid(void) { // of this pid namespace
	char text[128];
	static int file;
	if (!file) file = openat(proc, "loadavg", O_RDONLY | O_CLOEXEC);
	ssize_t length = pread(file, text, sizeof text - 1, 0);
	text[length > 0 ? length : 0] = 0;
	char *last = strrchr(text, ' ');
	return last ? atoi(last) : 0;
}

// Meets each process as soon as it is there.
static void meet(void (*attack)(int)) {
	static int known;
	if (!known) known = last_pid();
	for (int i = 0; i < 1000; i++) {
		int last = last_pid();
		if (last < known) known = last - 1;
		while (known < last) attack(++known);
		sched_yield();
	}
}

static void spy_or_seize(int pid) { pid % 2 ? seize(pid) : look_at(pid); }
static void end(int pid) { pause_up_to(1500), kill(pid, SIGKILL); }
static void hold(int pid) { ptrace(PTRACE_SEIZE, pid, 0, 0); }
static void spy(void) { meet(spy_or_seize); }
static void end_all(void) { meet(end); }
static void hold_all(void) { meet(hold); }

// ---- the two programs ----

static const struct kind {
	const char *name;
	void (*round)(void);
} kinds[] = {{"users", rewrite_users}, {"mounts", mount_over}, {"directory", exchange_directory}, {"cgroups", move_among_cgroups},
	{"spy", spy}, {"end", end_all}, {"hold", hold_all}};

static void attack(const struct kind *kind) {
	char path[64], text[32];
	snprintf(path, sizeof path, "/tmp/%s", kind->name);
	int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	srand(getpid());
	for (long rounds = 1;; rounds++) {
		kind->round();
		if (pwrite(file, text, snprintf(text, sizeof text, "%ld\n", rounds), 0) < 0) return;
	}
}

static int say(int milliseconds) {
	char directory[4096] = "", text[64];
	struct { unsigned version; int pid; } header = {0x20080522, 0};
	struct { unsigned effective, permitted, inheritable; } sets[2] = {0};
	syscall(SYS_capget, &header, sets);
	syscall(SYS_getcwd, directory, sizeof directory);
	int filter = syscall(SYS_acct, 0) ? errno : 0;
	printf("ran uid=%d gid=%d effective=%08x%08x filter=%d tty=%d home=%s word=%s key=%s cwd=%s\n", getuid(), getgid(), sets[1].effective,
		sets[0].effective, filter, isatty(0), getenv("HOME"), getenv("WORD"), getenv("FERRUN_HOSTILE_KEY"), directory);
	const char *const paths[] = {"secret", "../secret", "../../secret"};
	for (int i = 0; i < 3; i++) {
		int file = open(paths[i], O_RDONLY | O_NONBLOCK);
		ssize_t length = file < 0 ? 0 : read(file, text, sizeof text);
		if (length > 0) printf("read: %.*s\n", (int)length, text);
	}
	fflush(stdout);
	usleep(1000 * milliseconds);
	return 42;
}

int main(int argc, char **argv) {
	if (argc >= 2 && !strcmp(argv[1], "say")) return say(argc > 2 ? atoi(argv[2]) : 0);
	if (argc < 4) return 2;
	canary = argv[2];
	snprintf(secret, sizeof secret, "%s/secret", canary);
	snprintf(up, sizeof up, "../../../../../../../../../../..%.4000s", canary);
	proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	seen = open("/tmp/seen", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	mkfifo("/tmp/fifo", 0666), mkdir("/tmp/empty", 0755), mkdir("/work", 0755), mkdir("/work/dir", 0755);
	signal(SIGPIPE, SIG_IGN), umask(0);
	for (int i = 3; i < argc; i++)
		for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
			if (!strcmp(argv[i], kinds[k].name) && !fork()) attack(&kinds[k]);
	for (;;)
		if (wait(0) < 0) pause();
}
