# The checks of integration/docker of what a container and its processes do, from run to rm.
# See docker-lib.sh for what they are written with.

check_run() {
	try run --rm -- sh -c 'echo to stdout; echo to stderr >&2'
	is "run: status 0" 0 "$rc" "$err"
	is "run: stdout" "to stdout" "$out"
	is "run: stderr" "to stderr" "$err"
	expect "run: status 7" 7 "" -- sh -c 'exit 7'
	expect "run: killed by KILL is 137" 137 "" --pid host -- sh -c 'kill -KILL $$'
	expect "run: killed by TERM is 143" 143 "" --pid host -- sh -c 'kill -TERM $$'
	expect "run: stdin" 0 "from stdin" -i -- cat <<<"from stdin"
	is "run: a megabyte through stdin and stdout" "$(seq 200000 | cksum)" "$(seq 200000 | run --rm -i -- cat | cksum)"
	expect "run: nothing of the shim's environment" 0 none -- sh -c 'echo "${TTRPC_ADDRESS-none}"'
	expect "run: no descriptor of the shim" 0 "0 1 2 3" -- sh -c 'echo $(ls /proc/self/fd)' # 3 is ls's own
	expect "run: --env, --workdir that is made, --entrypoint" 0 "value /new/directory" --env NAME=value \
		--workdir /new/directory --entrypoint sh -- -c 'echo $NAME $(pwd)'
	detached -- sh -c 'echo ready; exec sleep 1000'
	matches "run: in the state directory of the runtime" "^$id\$" "$("$runtime" --root "$dir/exec/runtime-runc/moby" list -q)" "$(<"$dir/err")"
	is "run: in the cgroup below --cgroup-parent" "/$token/$id" \
		"$(sed -n 's/.*memory.*://p; s/^0::\(.\)/\1/p' "/proc/$(pid)/cgroup" | head -n 1)"
	remove
	is "run: not in the state directory any more" "" "$("$runtime" --root "$dir/exec/runtime-runc/moby" list -q)"
}

# The statuses that Docker derives from the messages of the runtime.
check_status() {
	refuses "status: 127, missing from PATH" 127 'exec: "no-such-program": executable file not found in \$PATH' -- no-such-program
	refuses "status: 127, missing path" 127 "/no/such/program.*no such file or directory" -- /no/such/program
	refuses "status: 126, not executable" 126 "/etc/not-executable.*permission denied" -- /etc/not-executable
	refuses "status: 126, a directory" 126 '"/etc".*(permission denied|is a directory)' -- /etc
	refuses "status: 126, a directory of a user's" 126 "permission denied" --user alice -- /root/program
	refuses "status: 125, a volume that does not fit" "125|127" "not a directory.*Are you trying to mount a directory onto a file" \
		--volume /etc/passwd:/etc -- true
	refuses "status: 127, an unknown sysctl" "125|127" "no such file or directory" --sysctl net.ipv4.no_such=1 -- true
	refuses "status: 125, an unknown runtime" 125 "no-such" --runtime no-such -- true
	id=$(docker create "$image" no-such-program)
	try docker start "$id"
	is "status: create and start" "status 1" "status $rc" "$err"
	is "status: State.ExitCode" 127 "$(inspect .State.ExitCode)"
	matches "status: State.Error" "executable file not found" "$(inspect .State.Error)"
	remove
}

terminal() { timeout -s KILL 40 "$here/terminal" "$docker" "$@" 2>&1; } # commands for it on standard input

check_terminal() {
	try terminal run --rm -it "$image" sh <<-'END'
		expect [#]
		send tty; test -t 2 && echo console >/dev/console; stty size\n
		expect /dev/pts/0\s+console\s+24 80
		resize 40 100
		send until stty size | grep -x '40 100'; do sleep 0.1; done\n
		expect \n40 100
		send sh -c 'echo wait"in"g; exec sleep 1000'\n
		expect waiting\s
		send \x03
		expect [#]
		send exit 5\n
	END
	is "terminal: streams, console, size, resize, interrupt and status" 5 "$rc" "$out"
	try terminal run -it --name terminal "$image" sh <<-'END'
		expect [#]
		send echo de''tach\n
		expect detach\s
		send \x10\x11
	END
	id=terminal
	is "terminal: detach" "0, true" "$rc, $(inspect .State.Running)" "$out"
	try terminal attach terminal <<-'END'
		send echo at''tached\n
		expect attached\s
		send exit 6\n
	END
	is "terminal: attach again" 6 "$rc" "$out"
	remove
	detached -- sleep 1000
	try terminal exec -it "$id" sh <<-'END'
		expect [#]
		send stty size; tty\n
		expect 24 80\s+/dev/pts/
		resize 50 90
		send until stty size | grep -x '50 90'; do sleep 0.1; done\n
		expect \n50 90
		send exit 7\n
	END
	is "terminal: exec" 7 "$rc" "$out"
	remove
}

check_exec() {
	detached --env OF=run --hostname inside --cap-add SYS_TIME --security-opt no-new-privileges -- sleep 1000
	executes "exec: output" 0 hello -- echo hello
	executes "exec: status" 42 "" -- sh -c 'exit 42'
	executes "exec: killed by KILL is 137" 137 "" -- sh -c 'kill -KILL $$'
	executes "exec: --interactive" 0 typed --interactive -- cat <<<typed
	executes "exec: --env, the container's, its namespaces" 0 "exec run inside sleep" --env BY=exec -- \
		sh -c 'echo $BY $OF $(hostname) $(cat /proc/1/comm)'
	executes "exec: --user by name, her groups and home" 0 "1000 1000 50 /home/alice" --user alice -- \
		sh -c 'echo $(id -u) $(id -G) $HOME'
	executes "exec: --user by number" 0 "7 9" --user 7:9 -- sh -c 'echo $(id -u) $(id -G)'
	executes "exec: --workdir" 0 /bin --workdir /bin -- pwd
	executes "exec: capabilities, no new privileges, seccomp" 0 "00000000aa0425fb 1 2" -- \
		sh -c 'echo $(sed -n "s/^\(CapEff\|NoNewPrivs\|Seccomp\):\t//p" /proc/self/status)'
	is "exec: in the container's cgroup" "$(grep memory "/proc/$(pid)/cgroup")" "$(execute -- grep memory /proc/self/cgroup)"
	execute --detach -- sh -c 'echo detached >/mark; exec sleep 998'
	wait_until execute -- test -s /mark
	matches "exec: --detach, in docker top" "sleep 998" "$(docker top "$id")"
	local jobs=() outs="" i
	for i in {1..8}; do execute -- sh -c "exit $i" & jobs+=($!); done
	for i in {1..8}; do wait "${jobs[i - 1]}"; outs+="$? "; done
	is "exec: eight at once" "1 2 3 4 5 6 7 8 " "$outs"
	remove
}

check_exec_errors() {
	detached -- sleep 1000
	# Docker 20.10 derives 126 of every failure to exec.
	execute_refuses "exec: missing from PATH" "126|127" 'exec: "no-such-program": executable file not found in \$PATH' -- no-such-program
	execute_refuses "exec: missing path" "126|127" "/no/such/program.*no such file or directory" -- /no/such/program
	execute_refuses "exec: not executable" 126 "permission denied" -- /etc/not-executable
	execute_refuses "exec: a directory" 126 '"/etc".*(permission denied|is a directory)' -- /etc
	execute_refuses "exec: missing working directory" "126|127" "no such file or directory" --workdir /no/such -- true
	docker pause "$id" >/dev/null
	execute_refuses "exec: while paused" "[1-9].*" "is paused" -- true
	docker unpause "$id" >/dev/null
	executes "exec: after unpause" 0 again -- echo again
	execute -- sleep 1000 &
	local background=$!
	wait_until eval '[ "$(docker top "$id" | grep -c "sleep 1000")" = 2 ]'
	docker kill "$id" >/dev/null
	wait $background
	is "exec: ends with the container" 137 $?
	execute_refuses "exec: after the init died" "[1-9].*" "is not running" -- true
	remove
}

check_signals() {
	ready -- sh -c 'trap "echo got USR1" USR1; trap "exit 4" HUP; echo ready; while :; do sleep 1000 & wait; done'
	local signal count=0
	for signal in USR1 SIGUSR1 10; do
		docker kill --signal "$signal" "$id" >/dev/null
		count=$((count + 1))
		wait_until eval '[ "$(docker logs "$id" | grep -c "got USR1")" = $count ]'
	done
	is "kill: by name, by long name and by number" 3 "$(docker logs "$id" | grep -c "got USR1")"
	docker kill --signal 1 "$id" >/dev/null
	is "kill: status of a handler" 4 "$(docker wait "$id")"
	try docker kill "$id"
	matches "kill: one that is not running" "^1 .*is not running" "$rc $err"
	remove
	detached -- sleep 1000
	docker kill "$id" >/dev/null
	is "kill: KILL is 137" 137 "$(docker wait "$id")"
	remove
	# The client passes a signal on to the container.
	rm -f "$dir/out"
	timeout -s KILL 30 "$docker" run --rm "$image" sh -c 'trap "exit 9" TERM; echo ready; sleep 1000 & wait' >"$dir/out" &
	local client=$!
	wait_until grep -qs ready "$dir/out"
	kill $client && wait $client
	is "kill: by the client, which is killed" 9 $?
}

check_stop() {
	local handler='trap "exit 5" TERM; echo ready; sleep 1000 & wait'
	ready -- sh -c "$handler"
	succeeds "stop: a TERM handler" stop "$id"
	is "stop: status of the handler" 5 "$(inspect .State.ExitCode)"
	remove
	ready -- sh -c 'trap "" TERM; echo ready; exec sleep 1000'
	succeeds "stop: TERM is ignored" stop --time 1 "$id"
	is "stop: KILL after the timeout" 137 "$(inspect .State.ExitCode)"
	remove
	ready --stop-signal QUIT -- sh -c 'trap "exit 6" QUIT; echo ready; sleep 1000 & wait'
	docker stop "$id" >/dev/null
	is "stop: --stop-signal" 6 "$(inspect .State.ExitCode)"
	remove
	# The processes of a joined pid namespace are for the runtime to kill.
	detached --pid host -- sh -c 'sleep 997 & sleep 997'
	docker kill "$id" >/dev/null && docker wait "$id" >/dev/null
	wait_until eval '! running "sleep 997" >/dev/null'
	is "stop: nothing stays of a container in the host's pid namespace" "" "$(running "sleep 997")"
	remove
}

check_start() {
	detached -- sh -c 'echo $$ again; test -e /mark || { touch /mark; exit 3; }'
	is "wait" 3 "$(docker wait "$id")"
	is "start: once more, attached" "1 again 0" "$(docker start --attach "$id") $?"
	remove
	ready --init -- sh -c 'echo ready; exec sleep 1000'
	local before=$(pid)
	succeeds "restart" restart --time 1 "$id"
	is "restart: another process" "true true" "$(inspect .State.Running) $([ "$(pid)" != "$before" ] && echo true)"
	try docker rm "$id"
	matches "rm: refuses a running one" "^1 .*running container" "$rc $err"
	remove
	id=$(docker create -i "$image" sh -c 'read word; echo "read $word"; exit 8')
	is "start: attached with stdin" "read typed 8" "$(echo typed | docker start --attach --interactive "$id") $(inspect .State.ExitCode)"
	remove
}

frozen() { [ "$(limit freezer.state cgroup.events | grep -c -x -e FROZEN -e "frozen 1")" = 1 ]; }

check_pause() {
	ready -- sh -c 'trap "exit 5" TERM; echo ready; sleep 1000 & wait'
	succeeds "pause" pause "$id"
	is "pause: status and cgroup" "paused frozen" "$(inspect .State.Status) $(frozen && echo frozen)"
	succeeds "unpause" unpause "$id"
	is "unpause: status and cgroup" "running thawed" "$(inspect .State.Status) $(frozen || echo thawed)"
	docker pause "$id" >/dev/null
	succeeds "stop: a paused one" stop --time 1 "$id"
	matches "stop: a paused one has stopped" "^exited (5|137)$" "$(inspect .State.Status) $(inspect .State.ExitCode)"
	docker start "$id" >/dev/null && docker pause "$id" >/dev/null
	succeeds "kill: a paused one" kill "$id"
	is "kill: status of a paused one" 137 "$(docker wait "$id")"
	docker start "$id" >/dev/null && docker pause "$id" >/dev/null
	succeeds "rm: --force of a paused one" rm --force "$id"
}

check_logs() {
	detached --name logs -- sh -c 'echo one; echo two >&2; until test -e /go; do sleep 0.1; done; echo three'
	docker logs --follow "$id" >"$dir/followed" 2>&1 &
	local follower=$!
	wait_until grep -qs two "$dir/followed"
	execute -- touch /go
	wait $follower
	is "logs: --follow ends with the container" "one three two" "$(sort "$dir/followed" | xargs)"
	is "logs: streams" "one three, two" "$(docker logs "$id" 2>/dev/null | xargs), $(docker logs "$id" 2>&1 >/dev/null)"
	is "logs: --tail" three "$(docker logs --tail 1 "$id" 2>/dev/null)"
	remove
	ready --interactive -- sh -c 'echo ready; read word; echo "got $word"; exec sleep 1000'
	mkfifo "$dir/typed"
	docker attach "$id" <>"$dir/typed" >"$dir/attached" 2>&1 &
	echo typed >"$dir/typed"
	wait_until grep -qs typed "$dir/attached"
	is "attach: input and output" "got typed" "$(<"$dir/attached")"
	remove
}

check_files() {
	detached --volume data:/data -- sleep 1000
	mkdir -p "$dir/tree/sub" && echo content >"$dir/tree/sub/file"
	succeeds "cp: a directory into a container" cp "$dir/tree" "$id:/data"
	executes "cp: what came in" 0 content -- cat /data/tree/sub/file
	execute -- sh -c 'echo from inside >/data/out; rm /home/alice -r'
	succeeds "cp: a file out of a container" cp "$id:/data/out" "$dir/copied"
	is "cp: what came out" "from inside" "$(<"$dir/copied")"
	docker pause "$id" >/dev/null
	is "cp: out of a paused one, as a tar" passwd "$(docker cp "$id:/etc/passwd" - | tar t)"
	docker unpause "$id" >/dev/null
	matches "diff" "D /home/alice" "$(docker diff "$id" | xargs)"
	succeeds "commit: pauses and resumes" commit "$id" committed:image
	is "commit: still running" running "$(inspect .State.Status)"
	docker kill "$id" >/dev/null
	succeeds "cp: into a stopped one" cp "$dir/copied" "$id:/etc/copied"
	is "cp: out of a stopped one" "from inside" "$(docker cp "$id:/etc/copied" - | tar xO)"
	remove
	image=committed:image expect "commit: its image runs" 0 "no alice" -- sh -c 'test -e /home/alice || echo no alice'
	docker rmi committed:image >/dev/null
	docker volume rm data >/dev/null
}

check_restart() {
	detached --restart on-failure:2 -- sh -c 'echo run; exit 3'
	wait_until has .State.Status exited
	is "restart policy: on-failure:2" "2 3 run run run" "$(inspect .RestartCount) $(inspect .State.ExitCode) $(docker logs "$id" | xargs)"
	remove
	ready --restart always -- sh -c 'echo ready; exec sleep 1000'
	local before=$(pid)
	kill -KILL "$before"
	wait_until has .RestartCount 1 && wait_until has .State.Running true
	is "restart policy: always, after a kill from outside" "true another" \
		"$(inspect .State.Running) $([ "$(pid)" != "$before" ] && echo another)"
	executes "restart policy: exec in the restarted one" 0 "" -- true
	succeeds "restart policy: stop ends it" stop --time 0 "$id"
	is "restart policy: stopped" exited "$(inspect .State.Status)"
	remove
}

check_health() {
	detached --health-cmd "test -e /healthy" --health-interval 100ms --health-retries 2 -- sleep 1000
	wait_until has .State.Health.Status unhealthy
	is "health: unhealthy" unhealthy "$(inspect .State.Health.Status)"
	execute -- touch /healthy
	wait_until has .State.Health.Status healthy
	is "health: healthy" healthy "$(inspect .State.Health.Status)"
	remove
	detached --health-cmd "echo checked; sleep 1000" --health-interval 100ms --health-timeout 200ms --health-retries 1 -- sleep 1000
	wait_until has .State.Health.Status unhealthy
	matches "health: a check that hangs is ended" "exceeded timeout" "$(inspect "json .State.Health.Log")"
	remove
}

check_events() {
	local since=$(date +%s.%N)
	detached --memory 64m -- sleep 1000
	docker stats --no-stream --format '{{.MemUsage}} {{.PIDs}}' "$id" >"$dir/stats" & # takes two seconds
	local stats=$!
	docker pause "$id" >/dev/null && docker unpause "$id" >/dev/null
	execute -- sh -c 'exit 3'
	matches "top: columns of its own" "^PID COMMAND $(pid) sleep\$" "$(docker top "$id" -o pid,comm | xargs)"
	wait $stats
	matches "stats: usage, limit, processes" "^[0-9.]+[KM]iB / 64MiB 1$" "$(<"$dir/stats")"
	docker kill "$id" >/dev/null && docker wait "$id" >/dev/null
	is "events: in their order" "create start pause unpause exec_create exec_start exec_die kill die" \
		"$(docker events --since "$since" --until "$(date +%s.%N)" --filter "container=$id" --filter type=container \
			--format '{{.Action}}' | sed 's/:.*//' | grep -v -e attach -e top | xargs)"
	remove
}
