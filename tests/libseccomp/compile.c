/* Compiles profiles with libseccomp as runc does, for comparison. The library is opened at run time: its
 * development package is not needed. Reads from standard input, a profile after the other:
 *     begin ACTION OPTIMIZE            numbers in hexadecimal, as in linux/seccomp.h
 *     arch TOKEN | without TOKEN
 *     rule ACTION NAME COUNT [INDEX OP A B]...
 *     end
 * and writes for each a count of instructions and these; a count of -1 if a rule was refused, -2 if the
 * library did not end. With an argument N every profile is compiled N times, and the nanoseconds of one are
 * written instead. A line by itself, outside of profiles:
 *     call TOKEN NAME
 * asks for a call's number, which is written as a line of text; it is negative if there is none. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct arg {
	unsigned int arg;
	int op;
	uint64_t a, b;
};
struct line {
	char kind[8], name[64];
	unsigned int first, second;
	struct arg args[6];
};

static void *(*init)(uint32_t);
static void (*release)(void *);
static int (*arch_add)(void *, uint32_t), (*arch_remove)(void *, uint32_t);
static int (*resolve)(const char *), (*attr_set)(void *, int, uint32_t);
static int (*resolve_for)(uint32_t, const char *);
static int (*rule_add)(void *, uint32_t, int, unsigned int, const struct arg *);
static int (*export_bpf)(void *, int);

static struct line lines[20000];
static unsigned int count, fallback;

/* Gives the descriptor of a file with the program, or -1. */
static int compile(int file)
{
	void *ctx = NULL;
	int rc = 0, call;
	for (unsigned int i = 0; i < count && rc == 0; i++) {
		struct line *l = &lines[i];
		if (!strcmp(l->kind, "begin")) {
			fallback = l->first;
			ctx = init(l->first);
			if (l->second)
				attr_set(ctx, 8, 2);
		} else if (!strcmp(l->kind, "arch")) {
			rc = arch_add(ctx, l->first);
			if (rc == -EEXIST)
				rc = 0;
		} else if (!strcmp(l->kind, "without")) {
			rc = arch_remove(ctx, l->first);
		} else if (l->first != fallback && (call = resolve(l->name)) != -1) {
			rc = rule_add(ctx, l->first, call, l->second, l->args);
		}
	}
	if (rc == 0)
		rc = ftruncate(file, 0) || lseek(file, 0, SEEK_SET) || export_bpf(ctx, file);
	release(ctx);
	return rc;
}

int main(int argc, char **argv)
{
	char text[4096];
	void *lib = dlopen("libseccomp.so.2", RTLD_NOW);
	if (!lib)
		return 77;
	init = dlsym(lib, "seccomp_init");
	release = dlsym(lib, "seccomp_release");
	arch_add = dlsym(lib, "seccomp_arch_add");
	arch_remove = dlsym(lib, "seccomp_arch_remove");
	resolve = dlsym(lib, "seccomp_syscall_resolve_name");
	resolve_for = dlsym(lib, "seccomp_syscall_resolve_name_arch");
	attr_set = dlsym(lib, "seccomp_attr_set");
	rule_add = dlsym(lib, "seccomp_rule_add_array");
	export_bpf = dlsym(lib, "seccomp_export_bpf");
	int file = memfd_create("program", 0);
	while (fgets(text, sizeof text, stdin)) {
		struct line *l = &lines[count];
		char *at = text;
		int used = 0;
		memset(l, 0, sizeof *l);
		sscanf(at, "%7s%n", l->kind, &used);
		at += used;
		if (!strcmp(l->kind, "call")) {
			sscanf(at, "%x %63s", &l->first, l->name);
			printf("%d\n", resolve_for(l->first, l->name));
			continue;
		}
		if (!strcmp(l->kind, "rule")) {
			sscanf(at, "%x %63s %u%n", &l->first, l->name, &l->second, &used);
			at += used;
			for (unsigned int i = 0; i < l->second; i++) {
				unsigned long long a, b;
				sscanf(at, "%u %d %llx %llx%n", &l->args[i].arg, &l->args[i].op, &a, &b, &used);
				l->args[i].a = a;
				l->args[i].b = b;
				at += used;
			}
		} else if (strcmp(l->kind, "end")) {
			sscanf(at, "%x %x", &l->first, &l->second);
		} else if (argc > 1) {
			struct timespec before, after;
			int times = atoi(argv[1]);
			clock_gettime(CLOCK_MONOTONIC, &before);
			for (int i = 0; i < times; i++)
				if (compile(file))
					return 1;
			clock_gettime(CLOCK_MONOTONIC, &after);
			printf("%ld\n", ((after.tv_sec - before.tv_sec) * 1000000000L + after.tv_nsec - before.tv_nsec) / times);
			count = 0;
			continue;
		} else {
			int32_t length = -1;
			static char buffer[65536];
			int status = 0;
			pid_t child = fork();
			if (child == 0) {
				/* The library never ends on some rules. */
				alarm(2);
				_exit(compile(file) == 0 ? 0 : 1);
			}
			waitpid(child, &status, 0);
			if (WIFSIGNALED(status))
				length = -2;
			else if (status == 0)
				length = lseek(file, 0, SEEK_END) / 8;
			fwrite(&length, 4, 1, stdout);
			if (length > 0) {
				ssize_t got = pread(file, buffer, sizeof buffer, 0);
				fwrite(buffer, 1, got, stdout);
			}
			fflush(stdout);
			count = 0;
			continue;
		}
		count++;
	}
	return 0;
}
