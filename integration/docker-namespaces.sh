# The checks of integration/docker of identity, namespaces, networks and privileges.
# See docker-lib.sh for what they are written with.

check_identity() {
	expect "identity: --hostname, --domainname" 0 "host dom host.dom" --hostname host --domainname dom -- \
		sh -c 'echo $(hostname) $(cat /proc/sys/kernel/domainname) $(hostname -f)'
	expect "identity: --user by name, --group-add" 0 "1000 1000 1000 77 50" --user alice --group-add 77 -- \
		sh -c 'echo $(id -u) $(id -g) $(id -G | tr " " "\n" | sort -nr | xargs)'
	expect "identity: --user by number" 0 "1234 567" --user 1234:567 -- sh -c 'echo $(id -u) $(id -G)'
	detached --user 5:6 --group-add 7 -- sleep 1000
	executes "identity: of exec" 0 "5 6 6 7" -- sh -c 'echo $(id -u) $(id -g) $(id -G)'
	remove
	expect "identity: --init" 0 "docker-init 143" --init -- \
		sh -c 'sh -c "kill -TERM \$\$"; echo $(cat /proc/1/comm) $?'
	expect "identity: --init reaps and passes the status on" 5 "" --init -- sh -c 'exit 5'
	expect "identity: --sysctl" 0 "1 12" --sysctl net.ipv4.ip_forward=1 --sysctl kernel.msgmax=12 -- \
		sh -c 'echo $(cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax)'
}

# The namespaces of $id, of this script, and whether they are the same one.
shares() { # KIND [PID]
	[ "$(readlink "/proc/$(pid)/ns/$1")" = "$(readlink "/proc/${2:-self}/ns/$1")" ] && echo "shares $1" || echo "own $1"
}

check_namespaces() {
	detached -- sleep 1000
	is "namespaces: of its own" "own mnt own pid own net own ipc own uts shares user" \
		"$(for each in mnt pid net ipc uts user; do shares $each; done | xargs)" "$(<"$dir/err")"
	remove
	detached --pid host --net host --ipc host --uts host --userns host --cgroupns host -- sleep 1000
	is "namespaces: of the host" "own mnt shares pid shares net shares ipc shares uts shares cgroup" \
		"$(for each in mnt pid net ipc uts cgroup; do shares $each; done | xargs)" "$(<"$dir/err")"
	executes "namespaces: the host's pid, seen from inside" 0 sleep -- cat "/proc/$(pid)/comm"
	remove
	detached --cgroupns private -- sleep 1000
	is "namespaces: --cgroupns private" "own cgroup" "$(shares cgroup)"
	executes "namespaces: --cgroupns private, seen from inside" 0 / -- sh -c "sed -n 's/.*memory.*://p; s/^0::\(.\)/\1/p' /proc/self/cgroup | head -n 1"
	executes "namespaces: --cgroupns private, the mount" 0 "Read-only" -- \
		sh -c 'for d in /sys/fs/cgroup /sys/fs/cgroup/memory; do mkdir $d/new; done 2>&1 | grep -o Read-only | uniq'
	remove
}

check_joined_namespaces() {
	local first each
	detached --name first --ipc shareable --net none --hostname first -- sleep 1000
	first=$(pid)
	detached --pid container:first --net container:first --ipc container:first -- sleep 1000
	is "namespaces: of another container" "own mnt shares pid shares net shares ipc" \
		"$(for each in mnt pid net ipc; do shares $each "$first"; done | xargs)" "$(<"$dir/err")"
	executes "namespaces: the other's pid, seen from inside" 0 "sleep 2" -- \
		sh -c 'echo $(cat /proc/1/comm) $(cat /proc/[0-9]*/comm | grep -c sleep)'
	docker kill "$id" >/dev/null
	is "namespaces: the other runs on" true "$(docker inspect -f '{{.State.Running}}' first)"
	docker start "$id" >/dev/null && docker kill first >/dev/null
	wait_until has .State.Running false
	is "namespaces: of one that has ended, with its pid namespace" 137 "$(inspect .State.ExitCode)"
	try docker start "$id"
	matches "namespaces: of one that does not run" "^1 .*(not running|joining|join)" "$rc $err"
	docker rm -f "$id" first >/dev/null
}

# Docker 20.10 asks for every capability that it knows, and a machine may not have them all.
check_privileged() {
	local ours=$(awk '/^CapBnd/ { print $2 }' /proc/self/status) options=(--privileged)
	write_program without-missing-capabilities <<-END
		#!/usr/bin/env python3
		import json, os, sys
		for option, file in ("--bundle", "/config.json"), ("--process", ""):
		    if option in sys.argv:
		        path = sys.argv[sys.argv.index(option) + 1] + file
		        config = json.load(open(path))
		        for each in config.get("process", config)["capabilities"].values():
		            each[:] = [c for c in each if c != "CAP_SYS_RESOURCE"]
		        json.dump(config, open(path, "w"))
		os.execv("$runtime", ["$runtime", *sys.argv[1:]])
	END
	try run --rm "${options[@]}" -- true
	if [ "$rc" != 0 ]; then # runc fails, ferrun leaves out what is missing
		matches "privileged: with capabilities that are missing here" "^125 .*caps.*operation not permitted" "$rc $err"
		options+=(--runtime without-missing-capabilities)
	fi
	detached "${options[@]}" -- sleep 1000
	# Docker 20.10 knows the capabilities up to AUDIT_READ, so that the first digits differ.
	try execute -- sh -c "echo \$($status_fields | sed -n '2p; 4p')"
	is "privileged: capabilities, seccomp" "${ours: -9} 0" "${out: -11}" "$out$err"
	executes "privileged: /proc/sys, /sys and cgroups can be written" 0 "rw rw rw" -- \
		awk '$2 ~ "^(/proc|/sys|/sys/fs/cgroup(/memory)?)$" && $3 != "tmpfs" { sub(",.*", "", $4); printf "%s%s", sep, $4; sep = " " }' /proc/mounts
	executes "privileged: the machine's devices" 0 "" -- sh -c ': >/dev/kmsg'
	executes "privileged: any device" 0 "No such device" -- sh -c 'mknod /made c 240 77 && head -c 1 /made 2>&1 | grep -o "No such device"'
	executes "privileged: mounts" 0 "" -- mount -t tmpfs tmpfs /mnt
	remove
	detached "${options[@]:1}" --security-opt seccomp=unconfined -- sleep 1000
	executes "privileged: exec" 0 allowed --privileged -- sh -c "mount -t tmpfs tmpfs /mnt && echo allowed"
	executes "privileged: exec without" 1 "" -- mount -t tmpfs tmpfs /mnt
	remove
}

check_network() {
	local address
	docker network create --subnet 10.98.0.0/24 other >/dev/null
	detached --network other --name server --publish 127.0.0.1:8099:80 -- \
		sh -c 'echo served >/tmp/index.html; exec httpd -f -h /tmp'
	wait_until eval 'wget_here >/dev/null 2>&1'
	is "network: a published port" served "$(wget_here)"
	expect "network: by name" 0 served --network other -- wget -qO- http://server/
	docker network connect bridge "$id"
	executes "network: connect and hosts" 0 "eth0 eth1" -- sh -c 'ls /sys/class/net | grep eth | xargs'
	remove
	docker network rm other >/dev/null
	expect "network: none" 0 lo --network none -- ls /sys/class/net
}

wget_here() { busybox wget -qO- http://127.0.0.1:8099/; }

check_runtimes() {
	expect "runtimes: --runtime, the default" 0 hello --runtime under-test -- echo hello
	detached --runtime with-arguments -- sleep 1000
	executes "runtimes: runtimeArgs that are given twice" 0 hello -- echo hello
	execute_refuses "runtimes: runtimeArgs, the message of a failure" 126 "no-such-program" -- no-such-program
	succeeds "runtimes: runtimeArgs, update" update --pids-limit 20 "$id"
	docker kill "$id" >/dev/null
	is "runtimes: runtimeArgs, status" 137 "$(docker wait "$id")"
	remove
	refuses "runtimes: runtimeArgs, the status of a failure" 127 "executable file not found" --runtime with-arguments -- no-such-program
	expect "runtimes: runc on PATH" 0 hello --runtime runc -- echo hello
	matches "runtimes: runc on PATH, called" "create --bundle [^ ]*" "$(<"$dir/recorded")"
	: >"$dir/recorded"
	detached --runtime recorded -- sleep 1000
	execute -- true
	matches "runtimes: --runtime, called" "create --bundle .*/$id --pid-file .*/init.pid $id" "$(grep create "$dir/recorded")"
	remove
	matches "runtimes: deleted" "delete .*$id" "$(grep delete "$dir/recorded")"
}
