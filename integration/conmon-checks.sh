# The checks of integration/conmon. Each has a name, runs in the private namespaces and
# uses $runtime (the program), $token (the cgroup) and $dir (below which everything of
# this run is).

ids=0 hangs=0

# ---- the calls, as CRI-O makes them ----

crio_runtime() { # COMMAND...: what CRI-O calls without conmon
	timeout -v -s KILL 15 "$runtime" --root "$dir/state" "$@"
}

conmon() { # in the bundle, since it writes a file `oom` where it is
	(cd "$dir/bundles/$id" && _OCI_SYNCPIPE=3 _OCI_STARTPIPE=4 exec timeout -s KILL 15 conmon "$@")
}

create() { # [CONMON-OPTION...]: conmon for the bundle of $id; sets said (what CRI-O reads from the sync pipe)
	local bundle=$dir/bundles/$id
	rm -f "$dir/sync"
	conmon -b "$bundle" -c "$id" --exit-dir "$dir/exits" \
		-l "$bundle/log" --log-level info -n "k8s_$id" -P "$bundle/conmon-pidfile" -p "$bundle/pidfile" \
		--persist-dir "$bundle/persistent" -r "$runtime" --runtime-arg "--root=$dir/state" \
		--socket-dir-path "$dir/sockets" --syslog -u "$id" "$@" 3>"$dir/sync" 4< <(echo) >"$dir/out" 2>"$dir/err"
	wait_until test -s "$dir/sync"
	said=$(tr -d '\0' <"$dir/sync")
}

# A process spec for exec, which begins with the container's.
exec_spec() { # JQ-FILTER COMMAND...
	jq ".process | .args = \$ARGS.positional | $1" --args -- "${@:2}" <"$dir/bundles/$id/config.json" >"$dir/process.json"
}

execute() { # JQ-FILTER COMMAND...: exec sync, without conmon; sets rc, out, err
	exec_spec "$@"
	crio_runtime exec --process "$dir/process.json" "$id" >"$dir/out" 2>"$dir/err" </dev/null
	rc=$? out=$(<"$dir/out") err=$(<"$dir/err")
	[[ $err != *"sending signal KILL"* ]] || rc="none in time"
}

# exec sync with conmon: the sync pipe gets the status, the log the output.
conmon_execute() { # JQ-FILTER [CONMON-OPTION...] -- COMMAND...; sets said, logged
	local filter=$1 options=()
	shift
	while [ "$1" != -- ]; do options+=("$1") && shift; done
	shift
	exec_spec "$filter" "$@"
	rm -f "$dir/sync" "$dir/exec-log"
	conmon -c "$id" -n "k8s_$id" -r "$runtime" -p "$dir/exec-pid" -e \
		-l "$dir/exec-log" --socket-dir-path "$dir/sockets" --log-level info --sync "${options[@]}" \
		--exec-process-spec "$dir/process.json" --runtime-arg "--root=$dir/state" 3>"$dir/sync" 4< <(echo) >"$dir/out" 2>"$dir/err"
	said=$(tr -d '\0' <"$dir/sync") logged=$(lines "$dir/exec-log")
}

# ---- bundles and what becomes of them ----

make_rootfs() { # the image of the engines' suites
	"$here/busybox-image" "$dir/image.tar" && mkdir "$dir/image" "$dir/rootfs" && tar -xf "$dir/image.tar" -C "$dir/image" &&
		tar -xf "$dir/image/$(jq -r '.[0].Layers[0]' "$dir/image/manifest.json")" -C "$dir/rootfs"
}

bundle() { # JQ-FILTER COMMAND...: sets id
	id=$token-c$((++ids))
	mkdir -p "$dir/bundles/$id/persistent"
	jq -n --arg root "$dir/rootfs" --arg cgroup "/$token/crio-$id" '
		def sealed: ["nosuid", "noexec", "nodev"];
		{ociVersion: "1.0.2", hostname: "pod", root: {path: $root},
		annotations: {"io.kubernetes.cri-o.ContainerType": "container"},
		process: {args: $ARGS.positional, cwd: "/", user: {uid: 0, gid: 0}, noNewPrivileges: true,
			env: ["PATH=/usr/bin:/bin", "OF=create"],
			capabilities: (["CAP_CHOWN", "CAP_KILL"] | {bounding: ., effective: ., permitted: .})},
		mounts: [{destination: "/proc", type: "proc", source: "proc", options: sealed},
			{destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "strictatime", "mode=755"]},
			{destination: "/dev/pts", type: "devpts", source: "devpts", options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666"]},
			{destination: "/sys", type: "sysfs", source: "sysfs", options: (sealed + ["ro"])}],
		linux: {cgroupsPath: $cgroup, resources: {devices: [{allow: false, access: "rwm"}], memory: {limit: 67108864}},
			namespaces: (["pid", "network", "ipc", "uts", "mount"] | map({type: .})),
			maskedPaths: ["/proc/keys"], readonlyPaths: ["/proc/sys"]}} | '"$1" --args -- "${@:2}" >"$dir/bundles/$id/config.json"
}

begin() { # JQ-FILTER COMMAND...: a container that runs; sets id
	bundle "$@"
	create && crio_runtime start "$id"
}

log() { echo "$dir/bundles/$id/log"; }
# CRI's format: TIME STREAM F|P TEXT.
lines() { sed -E 's/^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[+-][0-9:]{5}) //; s/\r//' "$1" 2>&1 | tr '\n' ',' | tr -d '\0'; }
state() { crio_runtime state "$id" 2>&1 | jq -r "$1" 2>&1; }
has_state() { [ "$(state .status)" = "$1" ]; }
exited() { wait_until test -s "$dir/exits/$id" && cat "$dir/exits/$id"; }
cgroup_file() { find /sys/fs/cgroup -path "*/$token/crio-$id/$1" -exec cat {} +; }
ready() { wait_until grep -qs ready "$(log)"; }
sleeper() { begin . sh -c 'echo ready; exec sleep 1000' && ready; }
remove() { crio_runtime delete --force "$id"; } >/dev/null 2>&1

control() { timeout 5 sh -c 'echo "$0" >"$1"' "$1" "$dir/bundles/$id/ctl"; } # conmon's fifo

quiet() { # NAME COMMAND...: the runtime does it, without a word
	local out name=$1
	shift
	out=$(crio_runtime "$@" 2>&1)
	is "$name" "status 0, " "status $?, $out"
}

refused() { # NAME MESSAGE COMMAND...: by the runtime, in words that CRI-O matches
	local out name=$1 message=$2
	shift 2
	out=$(crio_runtime "$@" 2>&1)
	matches "$name" "^status [1-9][0-9]*, .*($message)" "status $?, $out"
}

# ---- the checks ----

# CRI-O reads stdout and stderr together, so that a warning would break these.
check_runtime() {
	matches "--version: the first line" "^[a-z]+ version [0-9]" "$("$runtime" --version 2>&1 | head -n 1)"
	is "features: JSON and nothing else" "true true true" "$("$runtime" features 2>&1 |
		jq -r '"\(.ociVersionMin != null) \(.mountOptions | contains(["ro", "rbind"])) \(.linux.namespaces | contains(["user", "pid"]))"' 2>&1)"
}

check_create() {
	bundle . sh -c 'echo out; echo err >&2; printf part; sleep 0.1; echo ial; exit 7'
	create
	local pid=$(state .pid)
	is "create: conmon reports the pid" "{\"pid\": $pid}" "$said" "$(<"$dir/err")"
	is "create: the pid file" "$pid" "$(cat "$dir/bundles/$id/pidfile" 2>&1)"
	is "create: state" "$id created $dir/bundles/$id container" \
		"$(state '"\(.id) \(.status) \(.bundle) \(.annotations["io.kubernetes.cri-o.ContainerType"])"')"
	matches "create: state's time" "^[0-9-]{10}T[0-9:.]+Z" "$(state .created)"
	matches "create: conmon is the parent" "conmon" "$(tr '\0' ' ' <"/proc/$(cat "$dir/bundles/$id/conmon-pidfile")/cmdline" 2>&1)"
	is "create: the cgroup's limit" 67108864 "$(cgroup_file memory.limit_in_bytes; cgroup_file memory.max)"
	quiet "start" start "$id"
	is "exit file" 7 "$(exited)"
	is "exit file: in the persistent directory" 7 "$(cat "$dir/bundles/$id/persistent/exit" 2>&1)"
	is "log: CRI's format" "stderr F err,stdout F ial,stdout F out,stdout P part," \
		"$(lines "$(log)" | tr ',' '\n' | sort | tr '\n' ',' | sed 's/^,//')"
	wait_until has_state stopped
	is "state: stopped, pid 0" "stopped 0" "$(state '"\(.status) \(.pid)"')"
	refused "kill: of a stopped one" "container not running|no such process|process already finished" kill "$id" TERM
	quiet "delete" delete "$id"
	refused "state: of none" "does not exist" state "$id"
	refused "kill: of none" "does not exist" kill "$id" KILL
	refused "delete: of none" "does not exist" delete "$id"
	quiet "delete --force: of none" delete --force "$id"
}

check_errors() {
	bundle . no-such-program
	create
	matches "create: missing from PATH" '"pid": -1.*executable file not found in \$PATH' "$said"
	bundle . /etc/not-executable
	create
	matches "create: not executable" '"pid": -1.*permission denied' "$said"
	bundle '.mounts += [{destination: "/mnt", type: "bind", source: "/no/such", options: ["bind"]}]' true
	create
	matches "create: missing source of a mount" '"pid": -1.*no such file or directory' "$said"
	bundle '.root.path = "/no/such"' true
	create
	matches "create: missing root" '"pid": -1.*no such file or directory' "$said"
	is "create: what failed has no state" "" "$(crio_runtime list --quiet 2>&1)"
	bundle . sh -c 'exec sleep 1000'
	create
	refused "create: the same id again" "exist|in use" create --bundle "$dir/bundles/$id" "$id"
	execute . sh -c 'cat /proc/1/comm >&2; echo $OF'
	is "exec: before the start" "0 create" "$rc $out" "$err"
	crio_runtime start "$id" >/dev/null 2>&1
	refused "start: again" "running" start "$id"
	refused "delete: of a running one" "running|not stopped" delete "$id"
	quiet "delete --force: of a running one" delete --force "$id"
	is "delete --force: 137" 137 "$(exited)"
}

check_kill() {
	local signal
	for signal in TERM SIGTERM 15; do
		begin . sh -c 'trap "exit 3" TERM; echo ready; while :; do sleep 0.1; done' && ready
		quiet "kill: $signal" kill "$id" $signal
		is "kill: $signal: status of the handler" 3 "$(exited)"
		remove
	done
	begin . sh -c 'trap "" TERM; echo ready; while :; do sleep 0.1; done' && ready
	crio_runtime kill "$id" TERM && crio_runtime kill "$id" TERM
	refused "kill: an unknown signal" "signal" kill "$id" NOSUCH
	is "kill: TERM can be ignored" running "$(state .status)"
	crio_runtime kill "$id" KILL
	is "kill: KILL cannot" 137 "$(exited)"
	remove
	sleeper
	quiet "kill -a" kill -a "$id" KILL
	is "kill -a: 137" 137 "$(exited)"
	wait_until has_state stopped
	# CRI-O accepts either answer.
	matches "kill -a: of a stopped one" "^(0 |1 .*(not running|no such process|already finished))" \
		"$(out=$(crio_runtime kill -a "$id" KILL 2>&1); echo "$? $out")"
	remove
	# Without a pid namespace the other processes outlive the init.
	begin '.linux.namespaces |= map(select(.type != "pid"))' sh -c 'sleep 1000 & sleep 1000 & echo ready; wait' && ready
	crio_runtime kill -a "$id" KILL
	is "kill -a: all without a pid namespace" "137 " "$(exited) $(other_processes | grep '[s]leep 1000')"
	remove
}

check_pause_and_update() {
	sleeper
	quiet "pause" pause "$id"
	is "pause: state" paused "$(state .status)"
	execute . true
	matches "pause: exec is refused" "^[1-9][0-9]* .*paused" "$rc $err"
	quiet "resume" resume "$id"
	is "resume: state" running "$(state .status)"
	local resources='{"memory": {"limit": 134217728}, "cpu": {"shares": 512, "quota": 20000, "period": 100000, "cpus": "0"}}' out
	out=$(crio_runtime update --resources - "$id" <<<"$resources" 2>&1)
	is "update --resources -" "status 0, " "status $?, $out"
	is "update: memory" 134217728 "$(cgroup_file memory.limit_in_bytes; cgroup_file memory.max)"
	is "update: quota" 20000 "$(cgroup_file cpu.cfs_quota_us; cgroup_file cpu.max | cut -d' ' -f1)"
	is "update: cpus" 0 "$(cgroup_file cpuset.cpus)"
	crio_runtime update --resources - "$id" <<<"{}" 2>"$dir/err" # which may warn
	is "update: of nothing" "status 0, 134217728" "status $?, $(cgroup_file memory.limit_in_bytes; cgroup_file memory.max)"
	out=$(crio_runtime update --resources - "$id" <<<'{"cpu": {"cpus": "999"}}' 2>&1)
	matches "update: what the kernel refuses" "^status [1-9][0-9]*, .*cpuset" "status $?, $out"
	is "update: the container goes on" running "$(state .status)"
	crio_runtime pause "$id" && crio_runtime kill "$id" KILL
	is "kill: KILL ends a paused one" 137 "$(exited)"
	remove
}

check_exec() {
	sleeper
	execute . sh -c 'echo out; echo err >&2; exit 5'
	is "exec: status, stdout, stderr" "5 out err" "$rc $out $err"
	execute '.cwd = "/etc" | .env += ["MY=mine"] | .user = {uid: 7, gid: 9, additionalGids: [50]}' \
		sh -c 'echo $(pwd) $OF $MY $(id -u) $(id -G)'
	is "exec: cwd, env, user" "0 /etc create mine 7 9 50 " "$rc $out $err"
	execute '.capabilities.bounding = [] | .capabilities.effective = [] | .capabilities.permitted = []' \
		awk '/^(CapEff|NoNewPrivs)/ { print $2 }' /proc/self/status
	is "exec: capabilities, no new privileges" "0000000000000000 1" "$(echo $out)" "$err"
	execute . sh -c 'kill -TERM $$'
	is "exec: killed by TERM is 143" 143 "$rc"
	execute . no-such-program
	matches "exec: missing from PATH" '^[1-9][0-9]* .*executable file not found in \$PATH' "$rc $err"
	execute . /no/such
	matches "exec: missing path" '^[1-9][0-9]* .*no such file or directory' "$rc $err"
	execute . /etc/not-executable
	matches "exec: not executable" '^[1-9][0-9]* .*permission denied' "$rc $err"
	exec_spec '.terminal = true' sh -c 'tty && exit 6'
	timeout 15 script -qec "'$runtime' --root '$dir/state' exec --process '$dir/process.json' '$id'" /dev/null </dev/null >"$dir/out" 2>&1
	matches "exec: a terminal" "^6 .*/dev/pts/0" "$? $(tr -d '\0' <"$dir/out")"
	local i jobs=() outs=""
	for i in {1..5}; do
		exec_spec . sh -c "exit $i" && mv "$dir/process.json" "$dir/process$i.json"
		crio_runtime exec --process "$dir/process$i.json" "$id" & jobs+=($!)
	done
	for i in {1..5}; do wait "${jobs[i - 1]}"; outs+="$? "; done
	is "exec: five at once" "1 2 3 4 5 " "$outs"
	crio_runtime kill "$id" KILL && exited >/dev/null && wait_until has_state stopped
	execute . true
	matches "exec: after the init's end" "^[1-9][0-9]* .*(not running|stopped)" "$rc $err"
	remove
}

check_exec_by_conmon() {
	sleeper
	conmon_execute . -- sh -c 'echo out; exit 4'
	is "conmon exec: status" '{"exit_code": 4}' "$said" "$(<"$dir/err")"
	is "conmon exec: output" "stdout F out," "$logged"
	conmon_execute '.terminal = true' -t -- sh -c 'tty; exit 3'
	matches "conmon exec: a terminal: status" '"exit_code": 3\}' "$said"
	is "conmon exec: a terminal" "stdout F /dev/pts/0," "$logged"
	conmon_execute . -- no-such-program
	matches "conmon exec: missing from PATH" '"(pid|exit_code)": -1.*executable file not found in \$PATH' "$said"
	conmon_execute . -T 1 -- sleep 500
	matches "conmon exec: timeout" 'timed out' "$said"
	is "conmon exec: timeout kills it" "" "$(wait_until eval '! other_processes | grep -q "[s]leep 500"'; other_processes | grep "[s]leep 500")"
	remove
}

check_attach() {
	bundle . sh -c 'read line; echo "got $line"; echo to stderr >&2; exit 8'
	create -i
	"$here/conmon-attach" "$dir/sockets/$id/attach" <<<"a line" >"$dir/attached" 2>&1 &
	crio_runtime start "$id"
	wait $!
	is "attach: input, both streams" "2 got a line,3 to stderr," "$(sort "$dir/attached" | tr '\n' ',')"
	is "attach: status" 8 "$(exited)"
	remove
}

check_terminal() {
	bundle '.process.terminal = true' sh -c 'tty; test -t 2 && echo console >/dev/console; echo ready; read go; stty size; exit 9'
	create -t
	is "terminal: conmon reports the pid" "{\"pid\": $(state .pid)}" "$said" "$(<"$dir/err")"
	crio_runtime start "$id" && ready
	control "1 33 77" # what CRI-O writes for a resize
	mv "$(log)" "$dir/rotated"
	control "2 0 0" # and after it has rotated the log
	wait_until test -e "$(log)"
	"$here/conmon-attach" "$dir/sockets/$id/attach" <<<"go" >"$dir/attached" 2>&1
	is "terminal: status" 9 "$(exited)"
	is "terminal: streams, console" "stdout F /dev/pts/0,stdout F console,stdout F ready," "$(lines "$dir/rotated")"
	is "terminal: size, in a new log" "stdout F go,stdout F 33 77," "$(lines "$(log)")"
	is "terminal: attached" "2 go,2 33 77," "$(tr '\n' ',' <"$dir/attached")"
	remove
}

check_memory() {
	begin '.linux.resources.memory = {limit: 33554432, swap: 33554432}' sh -c 'exec tail /dev/zero'
	is "out of memory: 137" 137 "$(exited)"
	is "out of memory: for CRI-O" oom "$(cd "$dir/bundles/$id/persistent" && ls oom 2>&1)"
	remove
}

# The namespaces of a pod are its first container's; pid is shared if the pod says so.
check_pod() {
	sleeper
	local first=$id pid=$(state .pid) wanted kind
	wanted=$(for kind in net ipc uts pid; do readlink "/proc/$pid/ns/$kind"; done)
	begin ".linux.namespaces |= map(if .type == \"mount\" then . else .path = \"/proc/$pid/ns/\\({network: \"net\"}[.type] // .type)\" end)" \
		sh -c 'for kind in net ipc uts pid; do readlink /proc/self/ns/$kind; done; cat /proc/1/comm; echo ready; exec sleep 1000' && ready
	is "pod: shares the namespaces" "$wanted sleep ready" "$(echo "$wanted" $(lines "$(log)" | sed 's/stdout F //g' | tr ',' '\n' | tail -n +5))"
	is "pod: the same namespaces" "$(echo $wanted)" "$(lines "$(log)" | sed 's/stdout F //g' | cut -d, -f1-4 | tr ',' ' ')"
	quiet "pod: kill -a in a shared pid namespace" kill -a "$id" KILL
	is "pod: of one container alone" "137 running" "$(exited) $(id=$first state .status)"
	remove
	id=$first remove
}

# What is still there when all containers are gone.
check_leftovers() {
	wait_until no_processes # conmon ends a moment after its container
	is "left: processes" "" "$(other_processes)"
	is "left: containers" "" "$(crio_runtime list --quiet 2>&1)"
	is "left: states" "" "$(find "$dir/state" -mindepth 1 2>&1)"
	is "left: cgroups" "" "$(cgroups_of "$token/crio")"
	is "left: files elsewhere in /run" "" "$(find /run -mindepth 1 ! -path "/run/$token*")"
}
