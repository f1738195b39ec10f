# The checks of integration/buildah. Each has a name, runs in the private namespaces and
# uses $runtime (the program), $working (a container of buildah's, of the image) and $dir
# (below which everything of this run is).

image=docker.io/library/busybox:ferrun
default_capabilities=00000000a80425fb
hangs=0

buildah() { timeout -v -s KILL "${patience-25}" buildah "$@"; }

try() { # ARGUMENT...: of buildah; sets rc, out, err
	buildah "$@" >"$dir/out" 2>"$dir/err"
	rc=$? out=$(<"$dir/out") err=$(<"$dir/err")
	[[ $err != *"sending signal KILL"* ]] || rc="none in time"
	[ "$rc" != "none in time" ] || [ $((++hangs)) -lt 4 ] || exit 124 # the others will hang too
}

does() { # NAME STATUS STDOUT ARGUMENT...
	local check=$1 status=$2 stdout=$3
	shift 3 && try "$@"
	is "$check" "status $status, output '$stdout'" "status $rc, output '$out'" "$err"
}

expect() { # NAME STATUS STDOUT [OPTION...] -- COMMAND...: buildah run
	local check=$1 status=$2 stdout=$3 options=()
	shift 3
	while [ "$1" != -- ]; do options+=("$1") && shift; done
	shift
	does "$check" "$status" "$stdout" run "${options[@]}" "$working" -- "$@"
}

refuses() { # NAME STATUS MESSAGE [OPTION...] -- COMMAND...: buildah run that fails, and says so on stderr
	local check=$1 status=$2 message=$3 options=()
	shift 3
	while [ "$1" != -- ]; do options+=("$1") && shift; done
	shift
	try run "${options[@]}" "$working" -- "$@"
	matches "$check" "^status $status, .*($message)" "status $rc, $err"
}

# ---- the checks ----

check_run() {
	try run "$working" -- sh -c 'echo to stdout; echo to stderr >&2'
	is "run: status 0" 0 "$rc" "$err"
	is "run: stdout" "to stdout" "$out"
	# A warning may precede it: buildah 1.28 asks for ambient capabilities that are not inheritable.
	is "run: stderr" "to stderr" "$(tail -n 1 <<<"$err")"
	expect "run: status 7" 7 "" -- sh -c 'exit 7'
	expect "run: stdin" 0 "from stdin" -- cat <<<"from stdin"
	expect "run: changes stay" 0 "" -- sh -c 'echo kept >/kept'
	expect "run: in the next as well" 0 kept -- cat /kept
	expect "run: pid 1" 0 1 -- sh -c 'echo $$'
	expect "run: a pid 1 that leaves others behind" 3 "" -- sh -c 'sleep 1000 & exit 3'
	expect "run: --workingdir" 0 /etc --workingdir /etc -- pwd
	expect "run: --env" 0 "a b=c" --env "CHECK=a b=c" -- sh -c 'echo "$CHECK"'
	expect "run: --runtime-flag, repeated" 0 x --runtime-flag debug --runtime-flag debug -- echo x
	local i jobs=() outs=""
	for i in {1..3}; do buildah run "$working" -- sh -c "echo $i; exit $i" >"$dir/out$i" 2>/dev/null & jobs+=($!); done
	for i in {1..3}; do wait "${jobs[i - 1]}"; outs+="$?:$(<"$dir/out$i") "; done
	is "run: three at once" "1:1 2:2 3:3 " "$outs"
}

check_errors() {
	refuses "errors: missing from PATH" '[1-9][0-9]*' 'no-such-program.*executable file not found in .PATH' -- no-such-program
	refuses "errors: missing path" '[1-9][0-9]*' "/no/such/program.*no such file or directory" -- /no/such/program
	refuses "errors: not executable" '[1-9][0-9]*' "/etc/not-executable.*permission denied" -- /etc/not-executable
	refuses "errors: a mount point in a file" '[1-9][0-9]*' "not a directory" --volume "$dir:/etc/passwd/mnt" -- true
}

check_identity() {
	expect "identity: root" 0 "0 0" -- sh -c 'echo $(id -u) $(id -g)'
	expect "identity: --user by number" 0 "1234 567" --user 1234:567 -- sh -c 'echo $(id -u) $(id -g)'
	expect "identity: --user by name" 0 "1000 1000" --user alice -- sh -c 'echo $(id -u) $(id -g)'
	local cap_eff=(awk '/^CapEff/ { print $2 }' /proc/self/status)
	expect "identity: capabilities" 0 $default_capabilities -- "${cap_eff[@]}"
	expect "identity: --cap-add" 0 00000000a82425fb --cap-add CAP_SYS_ADMIN -- "${cap_eff[@]}"
	expect "identity: --cap-drop" 0 00000000a80425fa --cap-drop CAP_CHOWN -- "${cap_eff[@]}"
	expect "identity: seccomp" 0 2 -- awk '/^Seccomp:/ { print $2 }' /proc/self/status
	expect "identity: --hostname" 0 inside --hostname inside -- hostname
}

check_mounts() {
	mkdir -p "$dir/source" && echo content >"$dir/source/file"
	expect "mounts: --volume" 0 content --volume "$dir/source:/mnt" -- sh -c 'cat /mnt/file && echo written >/mnt/new'
	is "mounts: what was written is in the source" written "$(cat "$dir/source/new" 2>&1)"
	refuses "mounts: --volume, read-only" 1 "Read-only file system" --volume "$dir/source:/mnt:ro" -- touch /mnt/file
	refuses "mounts: --mount type=bind" 1 "Read-only file system" --mount "type=bind,src=$dir/source,dst=/mnt,ro" -- touch /mnt/file
	expect "mounts: --mount type=tmpfs" 0 tmpfs --mount type=tmpfs,dst=/mnt -- stat -f -c %T /mnt
	refuses "mounts: masked and read-only paths" 1 "Read-only file system" -- sh -c 'test -c /proc/timer_list && echo 1 >/proc/sys/kernel/domainname'
	expect "mounts: /dev" 0 "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero" -- \
		sh -c 'echo $(ls /dev | grep -vx core)' # a link to /proc/kcore, if there is one
}

check_namespaces() {
	local kind
	for kind in ipc uts pid; do
		expect "namespaces: --$kind host" 0 "$(readlink "/proc/self/ns/$kind")" --$kind host -- readlink "/proc/self/ns/$kind"
	done
	expect "namespaces: --network host" 0 "$(readlink /proc/self/ns/net)" --network host -- readlink /proc/self/ns/net
	try run --network none "$working" -- readlink /proc/self/ns/net
	matches "namespaces: --network none" "^0 net:.* another$" "$rc $out $([ "$out" = "$(readlink /proc/self/ns/net)" ] || echo another)" "$err"
}

check_terminal() {
	timeout 25 script -qec "stty cols 77 rows 33; buildah run --terminal $working -- sh -c 'tty && stty size && test -t 2 && exit 5'" \
		/dev/null </dev/null >"$dir/out" 2>&1
	is "terminal: status" 5 $?
	matches "terminal: name and size" "/dev/pts/0 33 77 " "$(tr -d '\0' <"$dir/out" | tr '\r\n' ' ' | tr -s ' ')"
}

check_commit() {
	buildah config --cmd "cat /kept" --user alice "$working"
	try commit -q "$working" committed
	is "commit" 0 "$rc" "$err"
	local other=$(buildah from --pull-never committed 2>"$dir/err")
	does "commit: a container of the image" 0 "kept 1000" run "$other" -- sh -c 'echo $(cat /kept) $(id -u)'
	buildah rm "$other" >/dev/null
	buildah config --user root "$working"
}

check_userns() {
	local map=(--userns-uid-map 0:100000:2000 --userns-gid-map 0:200000:2000) mapped
	mapped=$(buildah from "${map[@]}" "docker-archive:$dir/image.tar" 2>"$dir/err")
	does "userns: maps" 0 "0 100000 2000 0 200000 2000" run "$mapped" -- sh -c 'echo $(cat /proc/self/uid_map /proc/self/gid_map)'
	does "userns: owner of a file" 0 "1000:1000" run "$mapped" -- sh -c 'stat -c %u:%g /home/alice'
	does "userns: --user" 0 "1000 1000" run --user alice "$mapped" -- sh -c 'echo $(id -u) $(id -g)'
	buildah rm "$mapped" >/dev/null
}

check_build() {
	local context=$dir/context patience=100
	mkdir -p "$context" && echo context >"$context/file" && echo hidden >"$dir/secret"
	cat >"$context/Containerfile" <<END
FROM committed AS first
USER root
RUN echo built >/built
RUN --mount=type=cache,target=/cache echo cached >/cache/file
RUN --mount=type=cache,target=/cache cat /cache/file >/from-cache
RUN --mount=type=tmpfs,target=/scratch stat -f -c %T /scratch >/from-tmpfs
RUN --mount=type=bind,source=file,target=/bound cat /bound >/from-bind
RUN --mount=type=secret,id=s1 cat /run/secrets/s1 >/from-secret
FROM committed
COPY --from=first /built /from-* /
WORKDIR /home/alice
RUN id -u >user && pwd >directory
END
	buildah bud -q --layers --network none --secret "id=s1,src=$dir/secret" -t built "$context" >"$dir/out" 2>"$dir/err"
	is "bud: status" 0 $? "$(<"$dir/err")"
	local made=$(buildah from --pull-never built 2>"$dir/err")
	does "bud: what it made" 0 "built context cached hidden tmpfs 1000 /home/alice" run "$made" -- \
		sh -c 'echo $(cat /built /from-bind /from-cache /from-secret /from-tmpfs user directory)'
	buildah rm "$made" >/dev/null
	printf 'FROM committed\nRUN exit 9\n' >"$context/Containerfile"
	try bud -q --network none "$context"
	matches "bud: RUN that fails" "^[1-9][0-9]* .*exit status 9" "$rc $err"
	printf 'FROM committed\nRUN ["no-such-program"]\n' >"$context/Containerfile"
	try bud -q --network none "$context"
	matches "bud: RUN of a missing program" "^[1-9][0-9]* .*executable file not found in .PATH" "$rc $err"
}

check_limits() {
	local context=$dir/context
	cat >"$context/Containerfile" <<END
FROM committed
RUN c=\$(sed -n 's/.*:memory:/memory/p; s/^0:://p' /proc/self/cgroup | head -n 1) && echo \
	limit \$(cat /host/\$c/memory.limit_in_bytes /host/\$c/memory.max 2>/dev/null) \$(ulimit -n) \$(df -k /dev/shm | awk 'NR == 2 { print \$2 }')
END
	buildah bud --memory 64m --shm-size 2m --ulimit nofile=99:99 --network none --volume /sys/fs/cgroup:/host:ro "$context" >"$dir/out" 2>"$dir/err"
	is "limits: memory, ulimit, shm" "limit 67108864 99 2048" "$(grep '^limit' "$dir/out")" "$(<"$dir/err")"
}

# What is still there when all containers are gone.
check_leftovers() {
	is "left: containers of the runtime" "" "$("$runtime" list --quiet 2>&1)"
	try rm --all
	is "rm" 0 "$rc" "$err"
	is "left: processes" "" "$(other_processes)"
	is "left: cgroups" "" "$(find /sys/fs/cgroup -mindepth 2 -type d -name '*buildah*')"
	is "left: runtime state" "" "$(find /run -mindepth 2 ! -path "$dir*" ! -path '/run/containers/*' ! -path '/run/libpod/*' \
		! -path '/run/netns*' ! -path '/run/mount/*' ! -path '/run/lock/*' 2>&1)"
	is "left: bundles" "" "$(find "$dir/tmp" /var/tmp -mindepth 1 -maxdepth 1 -name 'buildah*' ! -name 'buildah-cache*')"
}
