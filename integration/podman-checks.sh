# The checks of integration/podman on a container's life: run, exec, stop, logs. Each has
# a name, runs in the private namespaces and uses $runtime (the program) and $dir (below
# which everything of this run is).

image=docker.io/library/busybox:ferrun
default_capabilities=00000000a80425fb
ids=0 hangs=0

# ---- podman ----

# KILL, because podman forwards a TERM to the container. -v, because a killed podman has
# status 137, which may be the one wanted.
podman() { timeout -v -s KILL "${patience-25}" podman --runtime "${name-tested}" "$@"; }

start() { # [OPTION...] -- COMMAND...: podman run; sets id
	local options=()
	while [ "$1" != -- ]; do options+=("$1") && shift; done
	shift
	id=c$((++ids))
	podman run --name "$id" "${options[@]}" "$image" "$@"
}

try() { # [OPTION...] -- COMMAND...: a container from start to end; sets rc, out, err
	local id # not the caller's: this container is removed
	start --rm "$@" >"$dir/out" 2>"$dir/err"
	rc=$?
	collect
}

collect() { # after a call: sets out and err, gives up when nothing ends
	out=$(tr -d '\0' <"$dir/out") err=$(<"$dir/err")
	[[ $err != *"sending signal KILL"* ]] || rc="none in time"
	[ "$rc" != "none in time" ] || [ $((++hangs)) -lt 4 ] || exit 124 # the others will hang too
}

detached() { # [OPTION...] -- COMMAND...: a container in the background that says 'ready'; sets id
	rm -f "$dir/log"
	start -d --log-opt "path=$dir/log" "$@" >"$dir/out" 2>"$dir/err" && wait_until grep -qs ready "$dir/log"
}

expect() { # NAME STATUS STDOUT [OPTION...] -- COMMAND...
	local check=$1 status=$2 stdout=$3
	shift 3 && try "$@"
	is "$check" "status $status, output '$stdout'" "status $rc, output '$out'" "$err"
}

refuses() { # NAME STATUS MESSAGE [OPTION...] -- COMMAND...: what fails, and says so on stderr
	local check=$1 status=$2 message=$3
	shift 3 && try "$@"
	matches "$check" "^status $status, .*($message)" "status $rc, $err"
}

does() { # NAME STATUS OUTPUT ARGUMENT...: a podman command; sets rc, out, err
	local check=$1 status=$2 stdout=$3
	shift 3
	podman "$@" >"$dir/out" 2>"$dir/err"
	rc=$?
	collect
	is "$check" "status $status, output '$stdout'" "status $rc, output '$out'" "$err"
}

execs() { # NAME STATUS STDOUT ARGUMENT...: podman exec
	does "$1" "$2" "$3" exec "${@:4}"
}

fails() { # NAME STATUS MESSAGE ARGUMENT...: a podman command that fails, and says so on stderr
	local check=$1 status=$2 message=$3
	shift 3
	podman "$@" >"$dir/out" 2>"$dir/err"
	rc=$?
	collect
	matches "$check" "^status $status, .*($message)" "status $rc, $err"
}

of() { podman inspect --format "{{ $1 }}" "${2-$id}" 2>&1; } # FIELD [CONTAINER]
is_so() { [ "$(of "$1")" = "$2" ]; }
cgroup_file() { # NAME: its content, of the container's cgroup; false if there is no such file
	local found=$(find /sys/fs/cgroup -path "*/libpod-$(of .Id)/$1")
	[ -n "$found" ] && cat "$found"
}
status() { of .State.Status "$@"; }
remove() { podman rm -f -t 0 "${@-$id}"; } >/dev/null 2>&1
sleeper() { detached "$@" -- sh -c 'echo ready; exec sleep 1000'; }

# ---- the checks ----

check_run() {
	try -- sh -c 'echo to stdout; echo to stderr >&2'
	is "run: status 0" 0 "$rc" "$err"
	is "run: stdout" "to stdout" "$out"
	is "run: stderr" "to stderr" "$err"
	expect "run: stdin" 0 "from stdin" -i -- cat <<<"from stdin"
	expect "run: status 7" 7 "" -- sh -c 'exit 7'
	# A pid 1 cannot kill itself, so these join the pid namespace of this script.
	expect "run: killed by KILL is 137" 137 "" --pid host -- sh -c 'kill -KILL $$'
	expect "run: killed by TERM is 143" 143 "" --pid host -- sh -c 'kill -TERM $$'
	expect "run: a joined pid namespace is cleared" 3 "" --pid host -- sh -c 'sleep 1000 & exit 3'
	expect "run: --log-driver none" 0 x --log-driver none -- echo x
	expect "run: --log-driver passthrough" 0 "x y" --log-driver passthrough -- sh -c 'read l; echo x $l' <<<"y"
	expect "run: --entrypoint" 0 "a b" --entrypoint '["echo", "a"]' -- b
	expect "run: --timeout" 255 "" --timeout 1 -- sleep 1000
}

# What podman derives from the runtime's message.
check_errors() {
	refuses "errors: missing from PATH is 127" 127 'no-such-program.*executable file not found in \$PATH' -- no-such-program
	refuses "errors: missing path is 127" 127 "/no/such/program.*no such file or directory" -- /no/such/program
	refuses "errors: not executable is 126" 126 "/etc/not-executable.*permission denied" -- /etc/not-executable
	refuses "errors: a directory is 126" 126 "/etc.*(permission denied|is a directory)" -- /etc
	refuses "errors: an unknown option is 125" 125 "unknown flag" --no-such-option -- true
	refuses "errors: a mount point in a file" "12[67]" "not a directory" -v "$dir:/etc/passwd/mnt" -- true
}

# podman gets the message from a JSON log if the runtime is in runtime_supports_json;
# otherwise it prints the runtime's stderr.
check_json_or_plain() {
	try -- no-such-program
	matches "json: the message and nothing else" '^Error: tested: [^{}]*executable file not found in \$PATH: OCI runtime[^{}]*$' "$err"
	local name=plain
	expect "plain: output" 0 x -- echo x
	refuses "plain: missing from PATH is 127" 127 'no-such-program.*executable file not found in \$PATH' -- no-such-program
	refuses "plain: not executable is 126" 126 "/etc/not-executable.*permission denied" -- /etc/not-executable
	sleeper
	execs "plain: exec" 0 x "$id" echo x
	fails "plain: exec missing from PATH is 127" 127 'executable file not found in \$PATH' exec "$id" no-such-program
	remove
}

# A terminal of 77 columns and 33 rows around a podman command; sets rc and out.
in_terminal() { # INPUT ARGUMENT...
	local input=$1 command
	shift
	printf -v command '%q ' timeout --foreground -s KILL 25 podman "$@"
	# script(1) closes the terminal at the end of its input, so the fifo stays open.
	mkfifo "$dir/terminal" && rm -f "$dir/out"
	script -qec "stty cols 77 rows 33; $command" /dev/null <>"$dir/terminal" >"$dir/out" 2>&1 &
	if [ -n "$input" ]; then wait_until grep -qs go "$dir/out" && echo "$input" >"$dir/terminal"; fi
	wait $!
	rc=$? out=$(tr '\r\n' ' ' <"$dir/out" | tr -s ' ')
	rm "$dir/terminal"
}

check_terminal() {
	local script='tty && test -t 0 && test -t 2 && echo console >/dev/console && stty size && echo go && read status && exit $status'
	in_terminal 5 run --rm -it "$image" sh -c "$script"
	is "terminal: status from its input" 5 "$rc" "$out"
	matches "terminal: streams, console, size" "^/dev/pts/0 console 33 77 go " "$out"
	sleeper
	in_terminal 6 exec -it "$id" sh -c 'tty && stty size && echo go && read status && exit $status'
	is "terminal: exec: status from its input" 6 "$rc" "$out"
	matches "terminal: exec: name and size" "^/dev/pts/0 33 77 go " "$out"
	remove
	start -di -- sh -c 'read line; echo "got $line"; exit 4' >/dev/null
	does "attach: input and output" 0 "got it" attach "$id" <<<"it"
	does "attach: status" 0 4 wait "$id"
	remove
}

check_process() {
	expect "process: pid 1" 0 1 -- sh -c 'echo $$'
	expect "process: --env" 0 "a b=c" --env "CHECK=a b=c" -- sh -c 'echo "$CHECK"'
	expect "process: environment is the container's alone" 0 "none none none" -- \
		sh -c 'echo "${_OCI_SYNCPIPE-none} ${CONTAINERS_CONF-none} ${LISTEN_FDS-none}"'
	expect "process: descriptors" 0 "0 1 2 3" -- sh -c 'echo $(ls /proc/self/fd)' # 3 is ls's own
	expect "process: --workdir" 0 /etc --workdir /etc -- pwd
	expect "process: root" 0 "0 0" -- sh -c 'echo $(id -u) $(id -g)'
	expect "process: a user by number" 0 "1234 567" --user 1234:567 -- sh -c 'echo $(id -u) $(id -g)'
	expect "process: a user by name, her groups" 0 "1000 1000 50" --user alice -- sh -c 'echo $(id -u) $(id -G)'
	expect "process: --group-add" 0 "0 50 4321" --group-add staff --group-add 4321 -- sh -c 'echo $(id -G)'
	expect "process: --umask" 0 0027 --umask 0027 -- sh -c umask
	expect "process: --hostname" 0 inside --hostname inside -- hostname
	expect "process: --init" 0 podman-init --init -- cat /proc/1/comm
	expect "process: --init: status" 9 "" --init -- sh -c 'exit 9'
}

check_exec() {
	sleeper --env OF=create --hostname first
	execs "exec: output" 0 hello "$id" echo hello
	execs "exec: exit status" 42 "" "$id" sh -c 'exit 42'
	execs "exec: killed by a signal" 143 "" "$id" sh -c 'kill -TERM $$'
	execs "exec: environment of the container" 0 create "$id" sh -c 'echo $OF'
	execs "exec: -e" 0 "mine create" -e "MY=mine" "$id" sh -c 'echo $MY $OF'
	execs "exec: -w" 0 /bin -w /bin "$id" pwd
	execs "exec: -u by number" 0 "7 9" -u 7:9 "$id" sh -c 'echo $(id -u) $(id -g)'
	execs "exec: -u by name, her groups" 0 "1000 1000 50" -u alice "$id" sh -c 'echo $(id -u) $(id -G)'
	execs "exec: in the container's namespaces" 0 "sleep first" "$id" sh -c 'echo $(cat /proc/1/comm) $(hostname)'
	execs "exec: in the container's cgroup" 0 same "$id" sh -c 'cmp /proc/1/cgroup /proc/self/cgroup && echo same'
	execs "exec: capabilities" 0 $default_capabilities "$id" awk '/^CapEff/ { print $2 }' /proc/self/status
	execs "exec: -i" 0 typed -i "$id" cat <<<"typed"
	execs "exec: no -i, no input" 0 "" "$id" cat <<<"typed"
	execs "exec: -t" 0 $'/dev/pts/0\r' -t "$id" tty
	podman exec -d "$id" >/dev/null sh -c 'echo done >/background; exec sleep 500'
	wait_until podman exec "$id" test -e /background
	execs "exec: -d" 0 done "$id" cat /background
	matches "exec: in top" "sleep 1000.*sleep 500" "$(podman top "$id" args 2>&1 | tr '\n' ' ')"
	local jobs=() outs="" i
	for i in {1..5}; do podman exec "$id" sh -c "echo $i; exit $i" >"$dir/out$i" 2>&1 & jobs+=($!); done
	for i in {1..5}; do wait "${jobs[i - 1]}"; outs+="$?:$(<"$dir/out$i") "; done
	is "exec: five at once" "1:1 2:2 3:3 4:4 5:5 " "$outs"
	remove
}

check_exec_errors() {
	sleeper
	fails "exec: missing from PATH is 127" 127 'no-such-program.*executable file not found in \$PATH' exec "$id" no-such-program
	fails "exec: missing path is 127" 127 "/no/such.*no such file or directory" exec "$id" /no/such
	fails "exec: not executable is 126" 126 "/etc/not-executable.*permission denied" exec "$id" /etc/not-executable
	fails "exec: a directory is 126" 126 "/etc.*(permission denied|is a directory)" exec "$id" /etc
	fails "exec: missing working directory" "12[67]" "/no/such.*no such file or directory" exec -w /no/such "$id" true
	fails "exec: unknown user" 255 "no-such-user" exec -u no-such-user "$id" true
	execs "exec: works after those" 0 x "$id" echo x
	podman pause "$id" >/dev/null
	fails "exec: refused while paused" 255 "running" exec "$id" true
	podman unpause "$id" >/dev/null
	execs "exec: works when unpaused" 0 x "$id" echo x
	podman kill "$id" >/dev/null && wait_until is_so .State.Status exited
	fails "exec: refused after the init's end" 255 "running" exec "$id" true
	remove
}

check_descriptors() {
	echo content >"$dir/file"
	expect "run: --preserve-fds" 0 "content" --preserve-fds 1 -- cat /proc/self/fd/3 3<"$dir/file"
	expect "run: without it, no descriptor" 0 "0 1 2 3" -- sh -c 'echo $(ls /proc/self/fd)' 3<"$dir/file"
	sleeper
	execs "exec: --preserve-fds" 0 content --preserve-fds 1 "$id" cat /proc/self/fd/3 3<"$dir/file"
	remove
}

check_copy() {
	mkdir -p "$dir/copied" && echo content >"$dir/copied/file"
	sleeper --tmpfs /tmp
	podman cp "$dir/copied/file" "$id:/etc/copied" 2>"$dir/err"
	execs "cp: to a running container" 0 content "$id" cat /etc/copied
	podman cp "$dir/copied/file" "$id:/tmp/copied" 2>>"$dir/err"
	execs "cp: to its tmpfs" 0 content "$id" cat /tmp/copied
	podman exec "$id" sh -c 'echo new >/tmp/new'
	does "cp: from its tmpfs" 0 "" cp "$id:/tmp/new" "$dir/copied/new"
	is "cp: what came out" new "$(cat "$dir/copied/new" 2>&1)"
	remove
}

check_logs() {
	start -- sh -c 'echo out; echo err >&2; printf no-newline' >/dev/null 2>&1
	is "logs: stdout" "out no-newline" "$(podman logs "$id" 2>/dev/null | xargs)"
	is "logs: stderr" "err" "$(podman logs "$id" 2>&1 >/dev/null)"
	remove
}

check_lifecycle() {
	detached -- sh -c 'trap "exit 3" TERM; echo ready; while :; do sleep 0.1; done'
	is "detached: podman returns and the container runs" "0 running" "$? $(status)" "$(<"$dir/err")"
	local pid=$(of .State.Pid) long=$(of .Id)
	matches "inspect: its pid" 'trap "exit 3" TERM' "$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>&1)"
	matches "RUNTIME list: podman's containers" "$long +$pid +running" "$("$runtime" list 2>&1)"
	is "in the cgroup that podman asked for" "/libpod_parent/libpod-$long" \
		"$(sed -n 's/.*:memory://p; s/^0::\(.*libpod-.*\)/\1/p' "/proc/$pid/cgroup" 2>&1 | head -n 1)"
	does "stop: returns" 0 "$id" stop "$id"
	is "stop: status of the handler" "exited 3" "$(status) $(of .State.ExitCode)"
	is "RUNTIME list: none" "" "$("$runtime" list --quiet 2>&1)"
	does "start: again" 0 "$id" start "$id"
	wait_until is_so .State.Status running
	does "restart" 0 "$id" restart -t 1 "$id"
	is "restart: it runs" "running another" "$(status) $([ "$(of .State.Pid)" = "$pid" ] || echo another)"
	does "kill: default signal" 0 "$id" kill "$id"
	does "wait: 137" 0 137 wait "$id"
	does "rm" 0 "$(podman inspect --format '{{ .Name }}' "$id" 2>&1)" rm "$id"
	fails "rm: gone" 125 "no such" inspect "$id"

	id=c$((++ids))
	podman create --name "$id" -a stdout "$image" sh -c 'echo started; exit 6' >/dev/null
	does "init: created by the runtime" 0 "$id" init "$id"
	is "init: status" "initialized" "$(status)"
	matches "RUNTIME list: created" "created" "$("$runtime" list 2>&1)"
	does "start --attach: output and status" 6 started start --attach "$id"
	does "start --attach: again" 6 started start --attach "$id"
	remove
}

check_stop() {
	detached -- sh -c 'trap "" TERM; echo ready; while :; do sleep 0.1; done'
	podman kill -s TERM "$id" >/dev/null
	is "kill: TERM can be ignored" running "$(status)"
	podman stop -t 1 "$id" >/dev/null 2>&1
	is "stop: timeout is 137" "exited 137" "$(status) $(of .State.ExitCode)"
	remove
	detached --stop-signal USR1 -- sh -c 'trap "exit 8" USR1; echo ready; while :; do sleep 0.1; done'
	podman stop "$id" >/dev/null 2>&1
	is "stop: --stop-signal" "exited 8" "$(status) $(of .State.ExitCode)"
	remove
	detached -- sh -c 'trap "echo hup" HUP; echo ready; while :; do sleep 0.1; done'
	podman kill -s HUP "$id" >/dev/null && wait_until grep -q hup "$dir/log"
	is "kill: by name, handled" hup "$(podman logs "$id" | tail -n 1)"
	does "rm -f: of a running one" 0 "$id" rm -f -t 0 "$id"
	detached --pid host -- sh -c 'sleep 1000 & sleep 1000 & echo ready; wait'
	podman stop -t 0 "$id" >/dev/null 2>&1 # kill --all, as it has no pid namespace
	is "stop: every process without a pid namespace" "exited " "$(status) $(other_processes | grep '[s]leep 1000')"
	remove
	start --log-opt "path=$dir/log2" -- sh -c 'trap "exit 12" USR2; echo ready; while :; do sleep 0.1; done' >/dev/null 2>&1 &
	id=c$((++ids)) # counted here too: in the background, start cannot
	wait_until grep -qs ready "$dir/log2" && kill -USR2 "$(pgrep -f "^podman .*--name $id ")"
	wait $!
	is "run: forwards signals" 12 $?
	remove
}

check_pause() {
	sleeper
	does "pause" 0 "$id" pause "$id"
	is "pause: status" paused "$(status)"
	matches "pause: frozen" '^(FROZEN|1)$' "$(cgroup_file freezer.state || cgroup_file cgroup.freeze)"
	matches "RUNTIME list: paused" "paused" "$("$runtime" list 2>&1)"
	does "unpause" 0 "$id" unpause "$id"
	is "unpause: status" running "$(status)"
	podman pause "$id" >/dev/null
	does "rm -f: of a paused one" 0 "$id" rm -f -t 0 "$id"
}

check_many() {
	local i outs="" jobs=()
	for i in {1..5}; do try -- echo "$i" && outs+="$rc:$out "; done
	is "five in a row" "0:1 0:2 0:3 0:4 0:5 " "$outs"
	for i in {1..4}; do
		podman run --rm "$image" sh -c "echo $i; sleep 0.3; exit $i" >"$dir/out$i" 2>&1 &
		jobs+=($!)
	done
	outs=""
	for i in {1..4}; do wait "${jobs[i - 1]}"; outs+="$?:$(<"$dir/out$i") "; done
	is "four at once" "1:1 2:2 3:3 4:4 " "$outs"
}

# What is still there when all containers are gone.
check_leftovers() {
	is "left: containers" "" "$(podman ps -aq 2>&1; podman pod ps -q 2>&1)"
	is "left: containers of the runtime" "" "$("$runtime" list --quiet 2>&1)"
	wait_until no_processes # conmon and podman's cleanup end a moment after their container
	is "left: processes" "" "$(other_processes)"
	is "left: cgroups" "" "$(find /sys/fs/cgroup -mindepth 2 -type d -path '*/libpod-*')"
	is "left: runtime state" "" "$(find /run -mindepth 2 ! -path "$dir*" ! -path '/run/containers/*' ! -path '/run/libpod/*' \
		! -path '/run/netns*' ! -path '/run/mount/*' ! -path '/run/lock/*' 2>&1)"
	is "left: exec files and sockets" "" "$(find "$dir/runroot" "$dir/root/overlay-containers" \( -type s -o -type p -o -name 'exec*' \) 2>&1)"
}
