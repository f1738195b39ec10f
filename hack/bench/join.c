// What it costs to bring a new process into a cgroup: by itself, by another,
// and by being born there. Only the call that does it is timed. A process is
// in a cgroup of its own before it is moved, as everybody is.
//
//   join V1-DIRECTORY V2-DIRECTORY ROUNDS      "" for a hierarchy that is not there
//
// Every round takes each way once, so that other load hits all alike; medians.
// The kernel makes whoever moves a process wait for an RCU grace period unless
// another has just done so: this shows only in moves that are some time apart.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_ROUNDS = 1000, APART_US = 40000 };
enum who { ITSELF, ANOTHER, BORN, NOWHERE };

static struct way {
	const char *name;
	int version;
	enum who who;
	const char *file;
} ways[] = {
	{"v1: the process, 0 to tasks", 1, ITSELF, "tasks"},
	{"v1: the process, 0 to cgroup.procs", 1, ITSELF, "cgroup.procs"},
	{"v1: another, its pid to cgroup.procs", 1, ANOTHER, "cgroup.procs"},
	{"v2: the process, 0 to cgroup.procs", 2, ITSELF, "cgroup.procs"},
	{"v2: another, its pid to cgroup.procs", 2, ANOTHER, "cgroup.procs"},
	{"v2: clone3 into the cgroup", 2, BORN, NULL},
	{"    clone3 alone", 0, NOWHERE, NULL},
};
enum { WAYS = sizeof ways / sizeof *ways };

static double times[WAYS][2][MOST_ROUNDS];
static char directories[3][4096];
static double *of_child;

static void die(const char *what)
{
	fprintf(stderr, "join: %s: %s\n", what, strerror(errno));
	for (int version = 1; version <= 2; version++)
		rmdir(directories[version]);
	exit(1);
}

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

// Writes to a file of the cgroup and gives the time of the write alone.
static double put(const struct way *way, const char *value)
{
	char path[4200];
	snprintf(path, sizeof path, "%s/%s", directories[way->version], way->file);
	int file = open(path, O_WRONLY | O_CLOEXEC);
	if (file < 0)
		die(path);
	double begin = now();
	if (write(file, value, strlen(value)) < 0)
		die(path);
	double time = now() - begin;
	close(file);
	return time;
}

static void child(const struct way *way, int gate)
{
	char byte;
	if (way->who == ITSELF)
		*of_child = put(way, "0");
	_exit(read(gate, &byte, 1) < 0);
}

static double measure(const struct way *way)
{
	int gate[2], cgroup = -1;
	if (pipe2(gate, O_CLOEXEC))
		die("pipe");
	struct clone_args args = {.exit_signal = SIGCHLD};
	if (way->who == BORN) {
		cgroup = open(directories[2], O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (cgroup < 0)
			die(directories[2]);
		args.flags = CLONE_INTO_CGROUP;
		args.cgroup = cgroup;
	}
	double begin = now();
	pid_t pid = syscall(SYS_clone3, &args, sizeof args);
	if (pid == 0) {
		close(gate[1]);
		child(way, gate[0]);
	}
	double time = now() - begin;
	if (pid < 0)
		die("clone3");
	if (way->who == ANOTHER) {
		char text[32];
		snprintf(text, sizeof text, "%d", pid);
		time = put(way, text);
	}
	close(gate[0]);
	close(gate[1]);
	if (cgroup >= 0)
		close(cgroup);
	int status;
	if (waitpid(pid, &status, 0) < 0 || status)
		die("the process");
	return way->who == ITSELF ? *of_child : time;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double median(double *times, int count)
{
	qsort(times, count, sizeof *times, compare);
	return times[count / 2];
}

int main(int argc, char **argv)
{
	if (argc != 4 || atoi(argv[3]) < 1 || atoi(argv[3]) > MOST_ROUNDS) {
		fprintf(stderr, "usage: join V1-DIRECTORY V2-DIRECTORY ROUNDS\n");
		return 2;
	}
	int rounds = atoi(argv[3]);
	of_child = mmap(NULL, sizeof *of_child, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int version = 1; version <= 2; version++)
		if (*argv[version]) {
			snprintf(directories[version], sizeof *directories, "%s/ferrun-join-%d", argv[version], getpid());
			if (mkdir(directories[version], 0755))
				die(directories[version]);
		}
	for (int apart = 0; apart <= 1; apart++)
		for (int round = 0; round < rounds; round++)
			for (struct way *way = ways; way < ways + WAYS; way++)
				if (!way->version || *directories[way->version]) {
					if (apart)
						usleep(APART_US);
					times[way - ways][apart][round] = measure(way);
				}
	printf("%-40s %14s %14s\n", "", "back to back", "40 ms apart");
	for (struct way *way = ways; way < ways + WAYS; way++)
		if (!way->version || *directories[way->version])
			printf("%-40s %11.0f µs %11.0f µs\n", way->name, median(times[way - ways][0], rounds),
			       median(times[way - ways][1], rounds));
	for (int version = 1; version <= 2; version++)
		if (*directories[version])
			rmdir(directories[version]);
	return 0;
}
