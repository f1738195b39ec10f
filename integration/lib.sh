# Shared by the scripts of this directory: results, what must be installed, private
# namespaces and the search for what a run left behind. Meant for bash.

# ---- results: one line a check, counted by summary ----

# Every process of a run appends to this file, so that nothing depends on one of
# them living to the end.
: "${FERRUN_RESULTS:=$(mktemp "${TMPDIR:-/tmp}/ferrun-results.XXXXXX")}"
export FERRUN_RESULTS

result() { printf '%s\n' "$1" | tee -a "$FERRUN_RESULTS"; }
pass() { result "ok - ${subject:+$subject: }$1"; }
skip() {
	result "skip - ${subject:+$subject: }$1"
	if [ -n "${FERRUN_SKIPS-}" ]; then echo "${subject:+$subject: }$1" >>"$FERRUN_SKIPS"; fi # hack/test counts them
}
fail() { # NAME [DETAIL...]: the details follow as TAP comments
	result "not ok - ${subject:+$subject: }$1"
	shift
	[ $# -eq 0 ] || printf '%s\n' "$@" | sed 's/^/#     /; 25 { s/$/ .../; q }'
}

is() { # NAME WANTED GOT [DETAIL...]
	if [ "$2" = "$3" ]; then pass "$1"; else fail "$1" "wanted: $2" "got:    $3" "${@:4}"; fi
}

matches() { # NAME EXTENDED-REGEX GOT [DETAIL...]
	if [[ $3 =~ $2 ]]; then pass "$1"; else fail "$1" "wanted a match of: $2" "got: $3" "${@:4}"; fi
}

summary() { # the closing line; false if a check failed
	local passed failed skipped
	passed=$(grep -c '^ok ' "$FERRUN_RESULTS")
	failed=$(grep -c '^not ok ' "$FERRUN_RESULTS")
	skipped=$(grep -c '^skip ' "$FERRUN_RESULTS")
	rm -f "$FERRUN_RESULTS"
	echo "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" -eq 0 ]
}

# ---- what a script needs ----

# What is missing is a skip, loudly, since not every machine has every engine; a
# machine that must have them (CI) sets FERRUN_REQUIRE_ENGINES and gets a failure.
missing() {
	if [ -n "${FERRUN_REQUIRE_ENGINES-}" ]; then fail "$1"; else skip "$1"; fi
}

need() { # PROGRAM=DEBIAN-PACKAGE...
	local each lacking=0
	if [ "$(id -u)" -ne 0 ]; then
		missing "this needs root"
		lacking=1
	fi
	for each; do
		type -P "${each%%=*}" >/dev/null && continue # not a function of this name
		missing "${each%%=*} is NOT INSTALLED (Debian package ${each#*=})"
		lacking=1
	done
	return $lacking
}

ferrun_binary() { # the path of the binary under test
	if [ -n "${FERRUN-}" ]; then echo "$FERRUN"; else "$here/../hack/build" | tail -n 1; fi
}

# ---- private namespaces ----

# Runs a command as pid 1 of namespaces of its own, for at most LIMIT seconds: its
# mounts, network, hostname and signals do not reach the machine, and when it ends
# the kernel ends every process that it started, whatever became of them.
privately() { # LIMIT COMMAND...
	local limit=$1
	shift
	timeout -s KILL "$limit" unshare --mount --propagation private --net --uts --ipc \
		--pid --kill-child --mount-proc "$@" </dev/null &
	privately_pid=$! # for a trap
	wait "$privately_pid"
	local status=$?
	privately_pid=
	return $status
}

# ---- what is left behind ----

# The cgroup tree belongs to the whole machine, so cgroups are told apart by a name
# that nobody else uses.
cgroups_of() { find /sys/fs/cgroup -depth -type d -path "*/$1*" 2>/dev/null; }

remove_cgroups_of() {
	local attempt directory
	for attempt in 1 2 3 4 5; do # a process that was just killed keeps its cgroup for a moment
		cgroups_of "$1" | while read -r directory; do rmdir "$directory" 2>/dev/null; done
		[ -z "$(cgroups_of "$1")" ] && return
		sleep 0.2
	done
}

# Every process of this pid namespace except this shell, its pid 1, and those named.
other_processes() { # [PID...]
	local directory pid state
	for directory in /proc/[0-9]*; do
		pid=${directory#/proc/}
		state=$(sed -n 's/^State:\t\(.\).*/\1/p' "$directory/status" 2>/dev/null)
		case " 1 $BASHPID $* " in *" $pid "*) continue ;; esac
		case $state in "" | Z) continue ;; esac
		echo "$pid $(tr '\0' ' ' <"$directory/cmdline")"
	done 2>/dev/null
}

wait_until() { # COMMAND...: false if it is still false after ten seconds
	local deadline=$((SECONDS + 10))
	until "$@"; do
		[ $SECONDS -lt $deadline ] || return 1
		sleep 0.05
	done
}
