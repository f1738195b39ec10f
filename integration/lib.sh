# Shared by the scripts of this directory: results, what must be installed, private
# namespaces, the search for what a run left behind, and the frame of an engine's suite.
# Meant for bash.

. "$(dirname "${BASH_SOURCE[0]}")/../hack/help.sh"

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

# What is missing is a skip, loudly, since not every machine has every engine; on a
# machine that must have them (CI sets FERRUN_REQUIRE_ENGINES) it is installed, or a failure.
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
		[ -z "${FERRUN_REQUIRE_ENGINES-}" ] || install "${each#*=}"
		type -P "${each%%=*}" >/dev/null && continue
		missing "${each%%=*} is NOT INSTALLED (Debian package ${each#*=})"
		lacking=1
	done
	return $lacking
}

install() { # PACKAGE
	(. "$here/../hack/lib.sh" && need_packages "$1")
}

ferrun_binary() { # the path of the binary under test
	if [ -n "${FERRUN-}" ]; then echo "$FERRUN"; else "$here/../hack/build"; fi
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
		cgroups_of "$1" | while read -r directory; do
			# What cgroup v1 has frozen does not die of a KILL, and its pid namespace waits for it.
			if [ -e "$directory/freezer.state" ]; then echo THAWED >"$directory/freezer.state"; fi
			rmdir "$directory"
		done 2>/dev/null
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

no_processes() { [ -z "$(other_processes)" ]; }

wait_until() { # COMMAND...: false if it is still false after ten seconds
	local deadline=$((SECONDS + 10))
	until "$@"; do
		[ $SECONDS -lt $deadline ] || return 1
		sleep 0.05
	done
}

# ---- the suite of an engine ----

# Runs the function `inside` for each runtime, by default runc as the control and then
# ferrun: as pid 1 of private namespaces, for at most LIMIT seconds. It is called with
# $runtime (the program), $subject (its name), $token (a name that no other run has: for
# cgroups) and $dir (a directory that nothing else uses; to be made below a private /run),
# and has to end with status 0 once all checks were made.
suite() { # LIMIT [--quick] [RUNTIME...]: --quick sets $FERRUN_QUICK, for a part of the checks
	local limit=$1 each
	shift
	if [ "${1-}" = --quick ]; then export FERRUN_QUICK=1 && shift; fi
	if [ "${1-}" = --inside ]; then # as called by suite_of_runtime
		runtime=$2 subject=$3 token=$4 dir=/run/$4
		trap 'exit 130' INT TERM # pid 1 would ignore them
		inside
		exit
	fi
	tokens=()
	trap suite_cleanup EXIT
	trap 'exit 130' INT TERM
	no_options "$@"
	if [ $# -eq 0 ]; then
		if need runc=runc; then set -- runc; fi
		set -- "$@" "$(ferrun_binary)"
	fi
	for each; do suite_of_runtime "$each"; done
}

suite_of_runtime() { # PROGRAM
	local path token=ferrun-it-$$-${#tokens[@]}
	subject=$(basename "${1:-ferrun}")
	if ! path=$(command -v -- "$1") || ! path=$(realpath -e -- "$path"); then
		fail "is a program" "path: ${1:-none}"
		return
	fi
	echo "# $subject is $path: $("$path" --version 2>&1 | head -n 1)"
	tokens+=("$token")
	privately "$limit" "$0" --inside "$path" "$subject" "$token"
	is "all checks were made" "status 0" "status $?"
	remove_cgroups_of "$token" # an engine keeps some of its own, which no runtime removes
	is "left: cgroups of the machine" "" "$(cgroups_of "$token")"
	is "left: mounts of the machine" "" "$(grep -F "$token" /proc/self/mountinfo)"
}

suite_cleanup() { # also after an interrupt
	local token
	trap '' INT TERM # one that comes twice, as from timeout(1)
	# As at the end of its time: KILL. unshare(1) ignores a TERM.
	if [ -n "${privately_pid-}" ]; then kill -ALRM "$privately_pid" && wait "$privately_pid"; fi 2>/dev/null
	for token in "${tokens[@]}"; do remove_cgroups_of "$token"; done
	rm -f "$FERRUN_RESULTS"
}
