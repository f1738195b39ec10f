# The checks of integration/containerd. Each has a name, runs in the private namespaces
# and uses $runtime (the program), $token (containerd's namespace, hence the cgroup) and
# $dir (below which everything of this run is).

image=docker.io/library/busybox:ferrun
default_capabilities=00000000a80425fb
ids=0 hangs=0

# ---- ctr ----

# KILL, because ctr hands a TERM on to the container, whose pid 1 may ignore it. -v,
# because what was killed has status 137 then, which may be just the one wanted.
ctr() { timeout -v -s KILL 15 ctr --address "$dir/socket" --namespace "$token" "$@"; }

start() { # [OPTION...] -- COMMAND...: ctr run; sets id
	local options=()
	while [ "$1" != -- ]; do options+=("$1") && shift; done
	shift
	id=c$((++ids))
	ctr run --runc-binary "$runtime" "${options[@]}" "$image" "$id" "$@"
}

try() { # [OPTION...] -- COMMAND...: a container from start to end; sets id, rc, out, err
	start --rm "$@" >"$dir/out" 2>"$dir/err"
	rc=$? out=$(<"$dir/out") err=$(<"$dir/err")
	[[ $err != *"sending signal KILL"* ]] || rc="none in time"
	[ "$rc" != "none in time" ] || [ $((++hangs)) -lt 5 ] || exit 124 # the others will hang too
}

detached() { # [OPTION...] -- COMMAND...: a container in the background that says 'ready'; sets id
	rm -f "$dir/log"
	start -d --log-uri "file://$dir/log" "$@" 2>"$dir/err" && wait_until grep -qs ready "$dir/log"
}

expect() { # NAME STATUS STDOUT [OPTION...] -- COMMAND...
	local name=$1 status=$2 stdout=$3
	shift 3 && try "$@"
	is "$name" "status $status, output '$stdout'" "status $rc, output '$out'" "$err"
}

refuses() { # NAME MESSAGE [OPTION...] -- COMMAND...: what fails, and says so on stderr
	local name=$1 message=$2
	shift 2 && try "$@"
	matches "$name" "^status [1-9][0-9]*, .*($message)" "status $rc, $err"
}

succeeds() { # NAME ARGUMENT...: ctr does it, without a word
	local name=$1
	shift
	is "$name" "status 0, " "$(out=$(ctr "$@" 2>&1); echo "status $?, $out")"
}

status() { ctr task ls 2>&1 | awk -v id="$1" '$1 == id { print $3 }'; }
has_status() { [ "$(status "$1")" = "$2" ]; }
pid_of() { ctr task ls | awk -v id="$1" '$1 == id { pid = $2 } END { print pid + 0 }'; }
remove() { ctr task delete -f "$1"; ctr container delete "$1"; } >/dev/null 2>&1

# ---- the checks ----

check_run() {
	try -- sh -c 'echo to stdout; echo to stderr >&2'
	is "run: status 0" 0 "$rc" "$err"
	is "run: stdout" "to stdout" "$out"
	is "run: stderr" "to stderr" "$err"
	# ctr may lose the end of a short stdin, so that nothing here waits for it.
	expect "run: stdin" 0 "from stdin" -- head -n 1 <<<"from stdin"
	expect "run: status 7" 7 "" -- sh -c 'exit 7'
	expect "run: null io can be written to" 0 "" --null-io -- sh -c 'echo 1 && echo 2 >&2'

	# A pid 1 cannot kill itself, so these join a pid namespace (this script's), in
	# which they are ordinary processes; what they leave there is for the runtime to kill.
	local joined=(--with-ns pid:/proc/1/ns/pid)
	expect "run: killed by KILL is 137" 137 "" "${joined[@]}" -- sh -c 'kill -KILL $$'
	expect "run: killed by TERM is 143" 143 "" "${joined[@]}" -- sh -c 'kill -TERM $$'
	expect "run: a joined pid namespace is cleared" 3 "" "${joined[@]}" -- sh -c 'sleep 1000 & exit 3'
}

check_identity() {
	expect "identity: pid 1" 0 1 -- sh -c 'echo $$'
	expect "identity: root" 0 "0 0" -- sh -c 'echo $(id -u) $(id -g)'
	# ctr run has no --user in containerd 1.6: the user is the image's.
	image=$image-1234.567 expect "identity: a user by number" 0 "1234 567" -- sh -c 'echo $(id -u) $(id -g)'
	image=$image-alice expect "identity: a user by name, her groups" 0 "1000 1000 50" -- sh -c 'echo $(id -u) $(id -G)'
	local before=$(hostname)
	expect "identity: a hostname of its own" 0 inside --cap-add CAP_SYS_ADMIN -- sh -c 'hostname inside; hostname'
	is "identity: the machine's hostname stays" "$before" "$(hostname)"
	expect "identity: capabilities" 0 $default_capabilities -- awk '/^CapEff/ { print $2 }' /proc/self/status
	expect "identity: no new privileges" 0 1 -- awk '/^NoNewPrivs/ { print $2 }' /proc/self/status
	expect "identity: --seccomp" 0 2 --seccomp -- awk '/^Seccomp:/ { print $2 }' /proc/self/status
	local ours=$(awk '/^CapEff/ { print $2 }' /proc/self/status)
	expect "identity: --privileged" 0 "$ours" --privileged -- awk '/^CapEff/ { print $2 }' /proc/self/status
}

check_process() {
	expect "process: --env" 0 "a b=c" --env "CHECK=a b=c" -- sh -c 'echo "$CHECK"'
	# The shim's environment and its socket, as descriptor 3, are what create inherits.
	expect "process: nothing of the shim's environment" 0 none -- sh -c 'echo "${TTRPC_ADDRESS-none}"'
	expect "process: no descriptor of the shim" 0 "0 1 2 3" -- sh -c 'echo $(ls /proc/self/fd)' # 3 is ls's own
	expect "process: PATH of the image" 0 /bin/awk -- which awk
	expect "process: --cwd" 0 /etc --cwd /etc -- pwd
	expect "process: --cwd that does not exist is made" 0 /new/directory --cwd /new/directory -- pwd
	# The message names the program; containerd's own words, when it finds no message, do not.
	refuses "process: missing from PATH" 'no-such-program.*executable file not found in \$PATH' -- no-such-program
	refuses "process: missing path" "/no/such/program.*no such file or directory" -- /no/such/program
	refuses "process: not executable" "/etc/not-executable.*permission denied" -- /etc/not-executable
	refuses "process: a directory" "/etc.*(permission denied|is a directory)" -- /etc
}

check_terminal() {
	local script='tty && test -t 0 && test -t 2 && echo console >/dev/console && read status && exit $status'
	id=c$((++ids))
	mkfifo "$dir/stdin" && rm -f "$dir/out"
	# ctr wants a terminal itself, which script(1) makes. The shim closes the container's console at the end
	# of the input and at the exit, shown or not: so this end of the fifo stays open, and the program waits.
	# In the foreground: a process group of timeout's own would be stopped as it touches the terminal.
	script -qec "timeout --foreground -s KILL 15 ctr --address $dir/socket --namespace $token run --rm -t \
		--runc-binary $runtime $image $id sh -c '$script'" /dev/null <>"$dir/stdin" >"$dir/out" 2>&1 &
	wait_until grep -qs console "$dir/out" && echo 5 >"$dir/stdin"
	wait $!
	is "terminal: status from its input" 5 $?
	matches "terminal: streams, console, controlling" "^/dev/pts/0 console " "$(tr '\r\n' ' ' <"$dir/out" | tr -s ' ')"
}

check_filesystem() {
	local source=$dir/source
	mkdir -p "$source" && echo content >"$source/file"
	expect "root: writable" 0 x -- sh -c 'echo x >/file && cat /file'
	refuses "root: --read-only" "Read-only file system" --read-only -- touch /file
	expect "bind: read-write" 0 content --mount "type=bind,src=$source,dst=/mnt,options=rbind:rw" -- \
		sh -c 'cat /mnt/file && echo written >/mnt/new'
	is "bind: what was written is in the source" written "$(cat "$source/new" 2>&1)"
	local read_only=(--mount "type=bind,src=$source,dst=/new/mnt,options=rbind:ro")
	expect "bind: read-only can be read" 0 content "${read_only[@]}" -- cat /new/mnt/file
	refuses "bind: read-only cannot be written" "Read-only file system" "${read_only[@]}" -- touch /new/mnt/file
}

check_tasks() {
	local handler='trap "exit 0" TERM; echo ready; while :; do sleep 0.1; done'
	detached -- sh -c "$handler"
	is "detached: ctr returns and the container runs" 0 $? "$(<"$dir/err")"
	is "task ls: RUNNING" RUNNING "$(status "$id")"
	matches "task ls: its pid" 'trap "exit 0" TERM' "$(tr '\0' ' ' <"/proc/$(pid_of "$id")/cmdline" 2>&1)"
	succeeds "task kill: default signal" task kill "$id"
	wait_until has_status "$id" STOPPED
	is "task ls: STOPPED after the handler's exit" STOPPED "$(status "$id")"
	succeeds "task delete: status of the handler" task delete "$id"
	is "task ls: gone" "" "$(status "$id")"
	succeeds "container delete" container delete "$id"

	detached -- sh -c 'trap "" TERM; echo ready; exec sleep 1000'
	ctr task kill "$id" && sleep 0.3
	is "task kill: TERM can be ignored" RUNNING "$(status "$id")"
	ctr task kill -s KILL "$id" && wait_until has_status "$id" STOPPED
	is "task kill: KILL cannot" STOPPED "$(status "$id")"
	matches "task delete: tells 137" "exit code 137" "$(ctr task delete "$id" 2>&1)"
	ctr container delete "$id"

	detached -- sh -c 'echo ready; exec sleep 1000'
	is "task: in the cgroup that was asked for" "/$token/$id" \
		"$(sed -n 's/.*memory.*://p; s/^0::\(.\)/\1/p' "/proc/$(pid_of "$id")/cgroup" 2>&1 | head -n 1)"
	matches "task metrics" "memory\.usage" "$(ctr task metrics "$id" 2>&1)"
	remove "$id"
	is "task delete --force: of a running one" "status 0, no task" "status $?, $(status "$id")no task"

	# The foreground ctr gets the status of a pid 1 that was killed from outside.
	start --rm -- sleep 1000 2>"$dir/err" &
	id=c$((++ids)) # counted here too: in the background, start cannot
	wait_until has_status "$id" RUNNING && ctr task kill -s KILL "$id"
	wait $!
	is "task kill: the foreground ctr's status" "137 " "$? $(<"$dir/err")"

	# Without --log-uri: fifos that nobody reads.
	start -d --runc-root "$dir/runc-root" -- sleep 1000
	is "--runc-root: has the state" "$id" "$(ls "$dir/runc-root/$token" 2>&1)"
	remove "$id"
	is "--runc-root: is empty after" "" "$(ls "$dir/runc-root/$token" 2>&1)"
}

check_memory_limit() {
	detached --memory-limit 67108864 -- sh -c 'echo ready; exec sleep 1000'
	is "limits: memory" 67108864 "$(find /sys/fs/cgroup -path "*/$token/$id/memory.limit_in_bytes" -exec cat {} + \
		-o -path "*/$token/$id/memory.max" -exec cat {} +)" "$(<"$dir/err")"
	remove "$id"
}

check_pause() {
	detached -- sh -c 'echo ready; exec sleep 1000'
	local pid=$(pid_of "$id")
	succeeds "task pause" task pause "$id"
	is "task ls: PAUSED" PAUSED "$(status "$id")"
	succeeds "task resume" task resume "$id"
	is "task ls: RUNNING again" RUNNING "$(status "$id")"
	is "task ps: the init" "$pid" "$(ctr task ps "$id" 2>&1 | awk 'NR == 2 { print $1 }')"
	ctr task pause "$id" && ctr task kill -s KILL "$id" && wait_until has_status "$id" STOPPED
	is "task kill: KILL ends a paused one" STOPPED "$(status "$id")"
	remove "$id"
}

execute() { # [OPTION...] -- COMMAND...: ctr task exec; sets rc and out
	local options=()
	while [ "$1" != -- ]; do options+=("$1") && shift; done
	shift
	out=$(ctr task exec --exec-id "e$((++ids))" "${options[@]}" "$id" "$@" 2>"$dir/err")
	rc=$?
}

executes() { # NAME STATUS STDOUT [OPTION...] -- COMMAND...
	local name=$1 status=$2 stdout=$3
	shift 3 && execute "$@"
	is "$name" "status $status, output '$stdout'" "status $rc, output '$out'" "$(<"$dir/err")"
}

executed_too() { [ "$(ctr task ps "$id" | wc -l)" -gt 2 ]; }

check_exec() {
	detached --env OF=create -- sh -c 'echo ready; exec sleep 1000'
	executes "exec: output" 0 hello -- echo hello
	executes "exec: exit status" 42 "" -- sh -c 'exit 42'
	executes "exec: killed by a signal" 143 "" -- sh -c 'kill -TERM $$'
	executes "exec: environment of the container" 0 create -- sh -c 'echo $OF'
	executes "exec: working directory" 0 /bin --cwd /bin -- pwd
	executes "exec: user" 0 "7 9" --user 7:9 -- sh -c 'echo $(id -u) $(id -g)'
	executes "exec: in the pid namespace" 0 sleep -- sh -c 'cat /proc/1/comm'
	executes "exec: capabilities" 0 "$default_capabilities" -- sh -c 'sed -n "s/CapEff:\t//p" /proc/self/status'
	is "exec: standard input" "status 0, typed" "$(out=$(echo typed | ctr task exec --exec-id input "$id" cat 2>&1); echo "status $?, $out")"
	# ctr cannot always resize what has ended already.
	matches "exec: a terminal" "a terminal" "$(timeout 20 script -qec "ctr --address '$dir/socket' --namespace '$token' task exec \
		--tty --exec-id tty '$id' sh -c 'tty >/dev/null && echo a terminal'" /dev/null </dev/null | tr -d '\r\0')"
	execute -- no-such-program
	matches "exec: missing from PATH" '^status [1-9][0-9]*, .*executable file not found in \$PATH' "status $rc, $(<"$dir/err")"
	execute --cwd /no/such -- true
	matches "exec: missing working directory" "^status [1-9][0-9]*, .*no such file or directory" "status $rc, $(<"$dir/err")"
	ctr task exec --exec-id background "$id" sleep 1000 &
	local background=$!
	wait_until executed_too
	matches "exec: in the list of processes" "(.*[0-9]+.*){2}" "$(ctr task ps "$id" | tail -n +2 | tr '\n' ' ')"
	succeeds "task kill: one that was executed" task kill --exec-id background --signal KILL "$id"
	wait $background
	is "task kill: its status" 137 $?
	ctr task pause "$id"
	execute -- true
	matches "exec: refused while paused" "^status [1-9][0-9]*, .*paused" "status $rc, $(<"$dir/err")"
	ctr task resume "$id"
	local jobs=() outs="" i
	for i in {1..5}; do ctr task exec --exec-id "many$i" "$id" sh -c "exit $i" & jobs+=($!); done
	for i in {1..5}; do wait "${jobs[i - 1]}"; outs+="$? "; done
	is "exec: five at once" "1 2 3 4 5 " "$outs"
	remove "$id"
}

# The program is replaced by another file of the same name, as a package does it.
check_upgrade() {
	local given=$runtime runtime=$dir/replaced
	cp "$given" "$runtime"
	detached -- sh -c 'echo ready; exec sleep 1000'
	cp "$given" "$dir/new" && mv "$dir/new" "$runtime"
	executes "upgrade: exec" 0 hello -- echo hello
	succeeds "upgrade: pause" task pause "$id"
	succeeds "upgrade: resume" task resume "$id"
	succeeds "upgrade: kill" task kill -s KILL "$id"
	wait_until has_status "$id" STOPPED
	is "upgrade: status" STOPPED "$(status "$id")"
	remove "$id"
	expect "upgrade: a new container" 0 new -- echo new
}

check_many() {
	local i outs=""
	for i in {1..10}; do try -- echo "$i" && outs+="$rc:$out "; done
	is "ten in a row" "0:1 0:2 0:3 0:4 0:5 0:6 0:7 0:8 0:9 0:10 " "$outs"
	local jobs=()
	for i in {1..4}; do
		start --rm -- sh -c "echo $i; sleep 0.3; exit $i" >"$dir/out$i" 2>&1 &
		jobs+=($!)
		id=c$((++ids))
	done
	outs=""
	for i in {1..4}; do wait "${jobs[i - 1]}"; outs+="$?:$(<"$dir/out$i") "; done
	is "four at once" "1:1 2:2 3:3 4:4 " "$outs"
}

# What is still there when all containers are gone, containerd still running.
check_leftovers() {
	wait_until no_shims # a shim ends a moment after its container
	is "left: processes" "" "$(other_processes "$containerd")"
	is "left: containers" "" "$(ctr container ls -q)"
	is "left: cgroups" "" "$(cgroups_of "$token/")"
	is "left: runtime state, sockets, fifos" "" "$(find /run/containerd "$dir/state/io.containerd.runtime.v2.task" \
		-mindepth 2 -maxdepth 3 ! -path "*/$token" ! -name containerd.sock\* 2>&1)"
	is "left: files elsewhere in /run" "" "$(ls /run | grep -vx -e containerd -e "$token")"
}

no_shims() { ! other_processes | grep -q containerd-shim; }
