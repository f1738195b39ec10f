# The rows of integration/hostile in which the container attacks for $seconds, while exec runs in it again and again.
# Every exec has to end in time, either with the status of its program (42) and what that prints, or with an error.

build_stormer() {
	export storm=$scratch/storm
	cc -static -O1 -o "$storm" "$here/hostile-storm.c" 2>/dev/null || rm -f "$storm"
}

# All capabilities that its root can use, writable cgroups, and a filter that the processes can ask after.
storm_config='sh("") | .process.args = ["/bin/storm", "attack", $canary] + $kinds
	| .process.capabilities |= map_values(. + (["SYS_ADMIN", "SYS_PTRACE", "DAC_READ_SEARCH"] | map("CAP_" + .)))
	| .linux.maskedPaths = [] | .linux.readonlyPaths = [] | .linux.seccomp = denied("acct"; 61) | namespace({type: "cgroup"})
	| mount({destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["rw", "nosuid", "noexec", "nodev"]})'
key=key-of-the-caller

storm() { # KIND...: a container with these attackers, and exec in it
	[ -e "$storm" ] || { not_applicable "no C compiler" && return; }
	cp "$runtime" "$dir/runtime" && runtime=$dir/runtime
	local before=$(sha256sum <"$runtime") kind
	bundle "$(jq -nc '$ARGS.positional' --args "$@") as \$kinds | $storm_config"
	cp "$storm" "$rootfs/bin/storm"
	on run --detach --bundle "$bundle" --pid-file "$dir/pid" "$id"
	[ "$rc" = 0 ] || { broken "the container did not start: $err" && return; }
	init_cgroups=$(grep -c "$token" "/proc/$(cat "$dir/pid")/cgroup")
	for kind; do wait_until test -s "$rootfs/tmp/$kind" || broken "$kind: no attack"; done
	receive_pidfds
	: >"$dir/errors"
	local end=$((SECONDS + seconds)) number=0 tries=0 ran=0 received=0
	while [ $SECONDS -lt $end ]; do
		exec_once $((number++))
		[ -z "${mortal-}" ] || expected='uid=0 gid=0 .* tty=1 ' with_terminal # which cannot be sent twice
	done
	wait_until pidfds_arrived || escaped "$received processes, $(cat "$dir/pidfds") of their descriptors"
	[ $ran -gt 3 ] || broken "of $tries programs $ran ran"
	held "$tries execs, $ran ran; $(sort "$dir/errors" | uniq -c | sort -rn | sed 's/^ *//' | tr '\n' ';')"
	looked_around "$@"
	ended_well
	is_same "the binary" "$before" "$(sha256sum <"$runtime")"
}

pidfds_arrived() { [ "$(cat "$dir/pidfds")" -ge "$received" ]; }

receive_pidfds() { # counts them in a file
	echo 0 >"$dir/pidfds"
	python3 -c 'import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(9)
number = 0
while True:
	_, descriptors, _, _ = socket.recv_fds(listener.accept()[0], 64, 4)
	number += sum("pidfd" in os.readlink(f"/proc/self/fd/{one}") for one in descriptors)
	for one in descriptors: os.close(one)
	with open(sys.argv[2], "w") as file: print(number, file=file)' "$dir/socket" "$dir/pidfds" &
	receiver=$!
	wait_until test -S "$dir/socket" || broken "nobody takes descriptors"
}

# ---- one exec ----

exec_once() { # NUMBER
	local expected='uid=0 gid=0'
	case $(($1 % 13)) in
	0) expected="$of_the_lists" attempt --user storm "$id" ;;
	1) expected="$of_the_lists" attempt --user storm:storm "$id" ;;
	2) expected='uid=1234 gid=0 effective=0{16} ' attempt --user 1234 "$id" ;;
	3) expected='uid=1234 gid=5 effective=0{16} ' attempt --user 1234:5 --additional-gids 7 --no-new-privs "$id" ;;
	4) expected='uid=1234 gid=0 .* cwd=' attempt --user 1234 --cwd /work/dir "$id" ;;
	5) expected='uid=0 gid=0 .* cwd=' attempt --cwd /work/dir "$id" ;;
	6) expected="uid=0 gid=0 .* word=$1 " attempt --env "WORD=$1" "$id" ;;
	7) expected='uid=0 gid=0 effective=[0-9a-f]{12}[13579bdf]' attempt --cap CAP_NET_ADMIN "$id" ;;
	8) of_a_file ;;
	9) expected='uid=0 gid=0 .* tty=1 ' with_terminal ;;
	10) detached ;;
	11) attempt --cgroup pids:storm "$id" ;;
	12) with_pidfd ;;
	esac
}
# What the lists can say, also to who reads them half written; never root.
of_the_lists='uid=(1|2)0{0,3} gid=((1|2)?0{0,3}) '

attempt() { # FLAG... ID: runs `storm say`
	started=$SECONDS
	FERRUN_HOSTILE_KEY=$key patience=20 on exec "$@" /bin/storm say
	judge "$*"
}

of_a_file() {
	jq -n '{args: ["/bin/storm", "say"], cwd: "/work/dir", user: {uid: 1234, gid: 5}, env: ["WORD=file"], noNewPrivileges: true}' >"$dir/process"
	expected='uid=1234 gid=5 effective=0{16} .* word=file .* cwd=' attempt --process "$dir/process" "$id"
}

with_terminal() {
	started=$SECONDS
	FERRUN_HOSTILE_KEY=$key patience=20 bounded script -qec \
		"\"$runtime\" --root \"$root\" exec --tty $id /bin/storm say 2>\"$dir/terminal\"" /dev/null <&8 8<&-
	err=$(cat "$dir/terminal")
	judge --tty
}

with_pidfd() {
	local before=$ran
	attempt --pidfd-socket "$dir/socket" "$id"
	[ "$ran" = "$before" ] || received=$((received + 1))
}

# What a tracer keeps is a zombie for as long as that lives.
has_ended() { [ ! -e "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status"; }

detached() { # it is in the container's cgroups
	local pid cgroups flags
	started=$SECONDS
	FERRUN_HOSTILE_KEY=$key patience=20 on exec --detach --pid-file "$dir/detached" "$id" /bin/storm say 100
	if [ "$rc" = 0 ]; then
		pid=$(cat "$dir/detached") flags=4
		cgroups=$(cat "/proc/$pid/cgroup") && read -r _ _ _ _ _ _ _ _ flags _ <"/proc/$pid/stat"
		# One that exits (PF_EXITING) is shown in none of v1.
		((flags & 4)) || [ "$(grep -c "$token" <<<"$cgroups")" = "$init_cgroups" ] || escaped "detached, in other cgroups: $cgroups"
		wait_until has_ended "$pid" || escaped "detached, and never ends"
		out=$(cat "$dir/out")
		if [[ $out == ran* ]]; then rc=42; fi
		if [ -z "$out" ] && [ -n "${mortal-}" ]; then rc=137; fi
	fi 2>/dev/null
	judge --detach
}

# What these attackers can be the reason of.
reasons='passwd|group|/dev/(pts|ptmx)|cwd|pid namespace|died while it was set up'

# A verdict on what was run last. $mortal: it may be killed.
judge() { # FLAGS
	local words="$1: status $rc: $out $err"
	tries=$((tries + 1))
	if [ $((SECONDS - started)) -ge 20 ]; then
		escaped "hangs: $words"
	elif has "$out$err" "$secret" || has "$out" "key=$key"; then
		escaped "$words"
	elif [ "$rc" = 42 ] && [[ $out =~ ran\ ${expected-} ]] && has "$out" filter=61; then
		ran=$((ran + 1))
	elif [ "$rc" = 137 ] && [ -n "${mortal-}" ]; then
		echo "killed" >>"$dir/errors"
	elif [ "$rc" != 0 ] && { [ "$rc" -lt 124 ] || [ "$rc" = 255 ]; } && [ -n "$err" ] && [ -z "$out" ] && ! crashed; then
		[[ $err =~ $reasons ]] || broken "refused for another reason: $words"
		head -n 1 <<<"$err" | sed 's/[0-9]\+/N/g' | cut -c 1-300 >>"$dir/errors"
	else
		escaped "$words"
	fi
}

# ---- afterwards ----

looked_around() {
	local found
	# The container has a path of the canary's name itself, by links that it has put in the way.
	found=$(grep -av "$canary" "$rootfs/tmp/seen" | grep -a -m 1 -e "$secret" -e "$key" -e "$dir" -e '^writable' -e '^peer') &&
		escaped "the container saw: $found"
	! has " $* " " spy " || grep -q '^seized' "$rootfs/tmp/seen" || broken "nothing was seized"
}

ended_well() {
	[ -e "/proc/$(cat "$dir/pid")/ns" ] || broken "the container ended"
	kill "$receiver" && wait "$receiver" 2>/dev/null
	on delete --force "$id"
	[ "$rc" = 0 ] || escaped "delete: status $rc: $err"
	wait_until nothing_left || escaped "left: $(other_processes) $(cgroups_of "$token") $(ls "$root")"
}
nothing_left() { [ -z "$(other_processes)$(cgroups_of "$token")" ] && [ ! -e "$root/$id" ]; }

row E1 "users, mounts, working directory and cgroups are exchanged while exec runs"
row_E1() { storm users mounts directory cgroups spy; }

row E2 "what exec starts is killed at any moment"
row_E2() { mortal=yes storm end spy; }

row E3 "a tracer does not let a process of exec be reaped"
row_E3() { storm hold; }
