# The checks of integration/podman on the options of a container: security, mounts,
# limits, namespaces. Written with the functions of podman-checks.sh.

cap_eff=(awk '/^CapEff/ { print $2 }' /proc/self/status)
seccomp_mode=(awk '/^Seccomp:/ { print $2 }' /proc/self/status)

check_security() {
	expect "security: capabilities" 0 $default_capabilities -- "${cap_eff[@]}"
	expect "security: --cap-drop all" 0 0000000000000000 --cap-drop all -- "${cap_eff[@]}"
	expect "security: --cap-drop all --cap-add" 0 0000000000201000 --cap-drop all --cap-add NET_ADMIN,SYS_ADMIN -- "${cap_eff[@]}"
	expect "security: none for a user" 0 "0000000000000000 $default_capabilities" --user 1000 -- \
		awk '/^CapEff/ { eff = $2 } /^CapBnd/ { print eff, $2 }' /proc/self/status
	expect "security: --cap-add for a user" 0 "0000000000001000 0000000000001000" --user 1000 --cap-add NET_ADMIN -- \
		awk '/^CapEff/ { eff = $2 } /^CapAmb/ { print eff, $2 }' /proc/self/status
	expect "security: new privileges" 0 0 -- awk '/^NoNewPrivs/ { print $2 }' /proc/self/status
	expect "security: no-new-privileges" 0 1 --security-opt no-new-privileges -- awk '/^NoNewPrivs/ { print $2 }' /proc/self/status
	sleeper --cap-drop all --cap-add CHOWN --security-opt no-new-privileges
	execs "security: exec: capabilities" 0 "0000000000000001 1" "$id" \
		awk '/^CapEff/ { eff = $2 } /^NoNewPrivs/ { print eff, $2 }' /proc/self/status
	execs "security: exec --privileged" 0 "$(our_capabilities)" --privileged "$id" "${cap_eff[@]}"
	remove
}

our_capabilities() { awk '/^CapBnd/ { print $2 }' /proc/self/status; }

check_seccomp() {
	expect "seccomp: filtered" 0 2 -- "${seccomp_mode[@]}"
	expect "seccomp: unconfined" 0 0 --security-opt seccomp=unconfined -- "${seccomp_mode[@]}"
	local rule='{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "%s"%s}]}'
	printf "$rule" SCMP_ACT_ERRNO ', "errnoRet": 28' >"$dir/errno.json"
	printf "$rule" SCMP_ACT_KILL_PROCESS "" >"$dir/kill.json"
	refuses "seccomp: a profile with an errno" 1 "No space left" --security-opt "seccomp=$dir/errno.json" -- mkdir /x
	expect "seccomp: a profile that kills is 159" 159 "" --security-opt "seccomp=$dir/kill.json" -- sh -c '(mkdir /x)'
	sleeper --security-opt "seccomp=$dir/errno.json"
	fails "seccomp: exec has the profile" 1 "No space left" exec "$id" mkdir /x
	remove
}

check_masks() {
	expect "masks: default" 0 "character special file" -- stat -c %F /proc/timer_list
	refuses "masks: read-only by default" 1 "Read-only file system" -- sh -c 'echo 1 >/proc/sys/kernel/domainname'
	expect "masks: unmask=PATH" 0 "regular empty file" --security-opt unmask=/proc/timer_list -- stat -c %F /proc/timer_list
	expect "masks: unmask=ALL" 0 "regular empty file 1" --security-opt unmask=ALL -- \
		sh -c 'echo 1 >/proc/sys/kernel/domainname; echo $(stat -c %F /proc/timer_list) $(cat /proc/sys/kernel/domainname)'
	expect "masks: proc-opts" 0 invisible --security-opt proc-opts=hidepid=2 -- \
		sed -n 's/.* \/proc .*hidepid=//p' /proc/self/mountinfo
	expect "masks: mask= a file and a directory" 0 "0 0" --security-opt mask=/etc/passwd:/home -- \
		sh -c 'echo $(wc -c </etc/passwd) $(ls /home | wc -l)'
}

check_privileged() {
	expect "privileged: capabilities" 0 "$(our_capabilities)" --privileged -- "${cap_eff[@]}"
	expect "privileged: no seccomp, no masks" 0 "0 regular empty file" --privileged -- \
		sh -c 'echo $(awk "/^Seccomp:/ { print \$2 }" /proc/self/status) $(stat -c %F /proc/timer_list)'
	expect "privileged: mounts" 0 tmpfs --privileged -- sh -c 'mount -t tmpfs tmpfs /mnt && stat -f -c %T /mnt'
	expect "privileged: /sys is writable" 0 rw --privileged -- awk '$5 == "/sys" { print substr($6, 1, 2) }' /proc/self/mountinfo
	expect "privileged: devices of the machine" 0 "$(stat -c %t:%T /dev/kmsg 2>/dev/null)" --privileged -- stat -c %t:%T /dev/kmsg
	sleeper --privileged
	execs "privileged: exec" 0 "$(our_capabilities)" "$id" "${cap_eff[@]}"
	remove
}

check_mounts() {
	local source=$dir/source
	mkdir -p "$source" && echo content >"$source/file"
	expect "root: writable" 0 x -- sh -c 'echo x >/file && cat /file'
	expect "bind: read-write" 0 content -v "$source:/mnt" -- sh -c 'cat /mnt/file && echo written >/mnt/new'
	is "bind: what was written is in the source" written "$(cat "$source/new" 2>&1)"
	expect "bind: read-only can be read" 0 content -v "$source:/new/mnt:ro" -- cat /new/mnt/file
	refuses "bind: read-only cannot be written" 1 "Read-only file system" -v "$source:/mnt:ro" -- touch /mnt/file
	expect "bind: a file" 0 content -v "$source/file:/etc/file:ro" -- cat /etc/file
	expect "bind: options" 0 "rw,nosuid,nodev,noexec" -v "$source:/mnt:rw,nosuid,nodev,noexec" -- \
		sh -c 'awk "\$5 == \"/mnt\" { print \$6 }" /proc/self/mountinfo | sed s/,relatime//'
	expect "mount: read-only recursively of a tree" 0 "ro" --mount "type=bind,src=$source,dst=/mnt,ro" -- \
		awk '$5 == "/mnt" { print substr($6, 1, 2) }' /proc/self/mountinfo
	expect "masked: --mount type=tmpfs over a file's directory" 0 0 --mount type=tmpfs,dst=/home,notmpcopyup -- sh -c 'ls /home | wc -l'
}

check_volumes() {
	expect "volume: named, with the image's content" 0 "alice" -v "v1:/home" -- sh -c 'ls /home; echo kept >/home/kept'
	expect "volume: keeps what was written" 0 kept -v "v1:/mnt" -- cat /mnt/kept
	mkdir -p "$dir/lower" && echo lower >"$dir/lower/file"
	expect "volume: :O" 0 "upper" -v "$dir/lower:/mnt:O" -- sh -c 'echo upper >/mnt/file; cat /mnt/file'
	is "volume: :O leaves the source" lower "$(<"$dir/lower/file")"
	expect "volume: type=image" 0 /bin/busybox --mount "type=image,src=$image,dst=/mnt" -- sh -c 'cd /mnt; ls -d bin/busybox | sed s:^:/:'
	sleeper -v v1:/mnt
	local first=$id
	expect "volume: --volumes-from" 0 kept --volumes-from "$first" -- cat /mnt/kept
	remove "$first"
	does "volume: removed" 0 v1 volume rm v1
	small_root "$dir/rootfs"
	does "rootfs: a directory" 0 x run --rm --rootfs "$dir/rootfs" /bin/busybox echo x
	does "rootfs: an overlay of a directory" 0 x run --rm --rootfs "$dir/rootfs:O" /bin/busybox sh -c '/bin/busybox touch /new; echo x'
	is "rootfs: the directory has nothing of it" "" "$(ls "$dir/rootfs/new" 2>/dev/null)"
}

small_root() { # DIRECTORY
	mkdir -p "$1"/{bin,dev,proc,sys,etc,run,tmp} && cp "$(type -P busybox)" "$1/bin/busybox"
}

check_propagation() {
	local source=$dir/shared
	mkdir -p "$source" && mount --bind "$source" "$source" && mount --make-shared "$source" && mkdir -p "$source"/{from,private,to} ||
		{ fail "propagation: a shared mount is made"; return; }
	detached --cap-add SYS_ADMIN -v "$source:/slave:rslave" -v "$source:/private:rprivate" -v "$source:/shared:rshared" -- \
		sh -c 'mount -t tmpfs tmpfs /shared/to && echo x >/shared/to/file; echo ready; exec sleep 1000'
	mount -t tmpfs tmpfs "$source/from" && echo x >"$source/from/file"
	execs "propagation: rslave gets the host's mount" 0 file "$id" ls /slave/from
	execs "propagation: rprivate does not" 0 "" "$id" ls /private/from
	is "propagation: rshared gives one to the host" file "$(ls "$source/to" 2>&1)" "$(<"$dir/err")"
	execs "propagation: to rslave as well" 0 file "$id" ls /slave/to
	expect "propagation: default is rprivate" 0 private -v "$source:/mnt" -- \
		awk '$5 == "/mnt" { print $7 == "-" ? "private" : $7 }' /proc/self/mountinfo
	remove
	umount -q "$source/to" "$source/from"
	umount "$source"
}

check_tmpfs() {
	expect "tmpfs: size" 0 "1024 tmpfs" --tmpfs /mnt:size=1m -- \
		sh -c 'echo $(df -k /mnt | awk "NR == 2 { print \$2 }") $(stat -f -c %T /mnt)'
	expect "tmpfs: options" 0 "nosuid,nodev,noexec" --tmpfs /mnt:noexec -- \
		sh -c 'awk "\$5 == \"/mnt\" { print \$6 }" /proc/self/mountinfo | sed "s/^rw,//; s/,relatime//"'
	expect "tmpfs: with the image's content" 0 alice --tmpfs /home -- ls /home
	expect "tmpfs: --shm-size" 0 2048 --shm-size 2m -- sh -c 'df -k /dev/shm | awk "NR == 2 { print \$2 }"'
}

check_read_only() {
	refuses "read-only: root" 1 "Read-only file system" --read-only -- touch /file
	expect "read-only: /tmp and /run are tmpfs" 0 "tmpfs tmpfs" --read-only -- sh -c 'touch /tmp/x && echo $(stat -f -c %T /tmp /run)'
	refuses "read-only: --read-only-tmpfs=false" 1 "Read-only file system" --read-only --read-only-tmpfs=false -- touch /tmp/x
	expect "read-only: a volume in it" 0 "" --read-only -v "$dir/tmp:/mnt" -- touch /mnt/x
	rm -f "$dir/tmp/x"
}

check_limits() {
	sleeper --memory 64m --memory-reservation 32m --pids-limit 50 --cpus 0.5 --cpu-shares 512 --cpuset-cpus 0
	is "limits: --memory" 67108864 "$(cgroup_file memory.limit_in_bytes || cgroup_file memory.max)"
	is "limits: --memory-reservation" 33554432 "$(cgroup_file memory.soft_limit_in_bytes || cgroup_file memory.low)"
	is "limits: --pids-limit" 50 "$(cgroup_file pids.max)"
	is "limits: --cpus" "50000 100000" "$(echo $(cgroup_file cpu.cfs_quota_us && cgroup_file cpu.cfs_period_us || cgroup_file cpu.max))"
	matches "limits: --cpu-shares" "^(512|20)$" "$(cgroup_file cpu.shares || cgroup_file cpu.weight)"
	is "limits: --cpuset-cpus" 0 "$(cgroup_file cpuset.cpus)"
	execs "limits: --cpuset-cpus in exec" 0 0 "$id" awk '/^Cpus_allowed_list/ { print $2 }' /proc/self/status
	remove
	local disk=$(ls /sys/block | head -n 1)
	sleeper --device-read-bps "/dev/$disk:1mb" --memory-swappiness 20
	matches "limits: --device-read-bps" "^$(<"/sys/block/$disk/dev") (rbps=)?1048576" \
		"$(cgroup_file blkio.throttle.read_bps_device || cgroup_file io.max)" "$(<"$dir/err")"
	# podman ignores it on cgroup v2, which has no swappiness.
	[ ! -d /sys/fs/cgroup/memory ] || is "limits: --memory-swappiness" 20 "$(cgroup_file memory.swappiness)"
	remove
	rm -f "$dir/oom"
	start --memory 32m --memory-swap 32m -- sh -c 'exec tail /dev/zero' >/dev/null 2>&1
	is "limits: killed for memory is 137" "exited 137" "$(status) $(of .State.ExitCode)"
	# podman 4.3 looks for this file in the bundle, so that its .State.OOMKilled is always false.
	is "limits: conmon notices the OOM kill" "$dir/oom" "$(ls "$dir/oom" 2>&1)"
	remove
	refuses "limits: too many processes" "[12]" "can't fork" --pids-limit 3 -- sh -c 'sleep 9 & sleep 9 & sleep 9 & sleep 9 & wait'
	expect "limits: --ulimit" 0 "100 200" --ulimit nofile=100:200 --ulimit nproc=1000:1000 -- sh -c 'echo $(ulimit -Sn) $(ulimit -Hn)'
	expect "limits: --oom-score-adj" 0 500 --oom-score-adj 500 -- cat /proc/self/oom_score_adj
}

check_update() {
	sleeper --memory 64m
	podman update --memory 128m --cpus 0.25 --cpuset-cpus 1 "$id" >"$dir/out" 2>&1
	is "update: status" 0 $? "$(<"$dir/out")"
	is "update: --memory" 134217728 "$(cgroup_file memory.limit_in_bytes || cgroup_file memory.max)"
	is "update: --cpus" "25000" "$(cgroup_file cpu.cfs_quota_us || cgroup_file cpu.max | cut -d' ' -f1)"
	is "update: --cpuset-cpus" 1 "$(cgroup_file cpuset.cpus)"
	fails "update: what the kernel refuses" 125 "cpuset" update --cpuset-cpus 999 "$id"
	execs "update: the container goes on" 0 x "$id" echo x
	remove
}

check_cgroups() {
	expect "cgroups: --cgroup-parent" 0 yes --cgroup-parent /libpod_parent/other -- \
		sh -c 'grep -q ":/libpod_parent/other/libpod-" /proc/self/cgroup && echo yes'
	expect "cgroups: no-conmon" 0 yes --cgroups no-conmon -- sh -c 'grep -q ":/libpod_parent/libpod-" /proc/self/cgroup && echo yes'
	expect "cgroups: --cgroupns private" 0 "/" --cgroupns private -- sh -c "sed -n 's/^.*:memory://p; s/^0:://p' /proc/self/cgroup | head -n 1"
	expect "cgroups: read-only" 0 "none" -- sh -c 'for d in /sys/fs/cgroup/*/ /sys/fs/cgroup/memory; do
		! mkdir $d/x 2>/dev/null || echo $d; done; echo none'
	expect "cgroups: --systemd always" 0 "tmpfs rw" --systemd always -- sh -c 'stat -f -c %T /run | tr "\n" " "
		awk "\$5 ~ /^.sys.fs.cgroup(.systemd)?\$/ { last = substr(\$6, 1, 2) } END { print last }" /proc/self/mountinfo'
	# podman passes --cgroup-manager=disabled, which runc does not have.
	if "$runtime" --cgroup-manager=disabled --version >/dev/null 2>&1; then
		sleeper --cgroups disabled
		is "cgroups: disabled: in podman's" "$(</proc/1/cgroup)" "$(cat "/proc/$(of .State.Pid)/cgroup" 2>&1)"
		execs "cgroups: disabled: exec" 0 x "$id" echo x
		podman stop -t 0 "$id" >/dev/null 2>&1
		is "cgroups: disabled: stop" "exited 137" "$(status) $(of .State.ExitCode)"
		remove
	fi
}

check_namespaces() {
	local kind
	for kind in net pid ipc uts cgroup; do
		local option=--$kind
		[ "$kind" != cgroup ] || option=--cgroupns
		expect "namespaces: $option host" 0 "$(readlink "/proc/self/ns/$kind")" $option host -- readlink "/proc/self/ns/$kind"
		try $option private -- readlink "/proc/self/ns/$kind"
		matches "namespaces: $option private" "^0 $kind:.* another$" "$rc $out $([ "$out" = "$(readlink "/proc/self/ns/$kind")" ] || echo another)" "$err"
	done
	sleeper
	local first=$id
	for kind in net pid ipc uts; do
		expect "namespaces: --$kind container:ID" 0 "$(podman exec "$first" readlink "/proc/1/ns/$kind")" \
			--$kind "container:$first" -- readlink "/proc/self/ns/$kind"
	done
	remove "$first"
	expect "namespaces: --ipc none: no /dev/shm" 0 "" --ipc none -- test ! -e /dev/shm
	expect "namespaces: loopback is up" 0 "127.0.0.1" -- sh -c 'ip -4 -o addr show lo | sed "s/.*inet \([0-9.]*\).*/\1/"'
	unshare --net="$dir/netns" true 2>/dev/null || { touch "$dir/netns" && unshare --net="$dir/netns" true; }
	expect "namespaces: --net ns:PATH" 0 "net:[$(stat -L -c %i "$dir/netns")]" --net "ns:$dir/netns" -- readlink /proc/self/ns/net
	umount "$dir/netns"
}

check_network() {
	podman network create --subnet 10.9.9.0/24 n1 >/dev/null 2>"$dir/err"
	detached --network n1 --ip 10.9.9.5 -- sh -c 'echo ready; nc -l -p 80 -e echo served'
	expect "network: two containers on a bridge" 0 served --network n1 -- nc -w 5 10.9.9.5 80
	remove
	does "network: removed" 0 n1 network rm n1
}

check_machine() { # devices, sysctls, secrets
	expect "device: another path" 0 "1:5 3" --device /dev/zero:/dev/elsewhere -- \
		sh -c 'echo $(stat -c %t:%T /dev/elsewhere) $(head -c 3 /dev/elsewhere | wc -c)'
	refuses "device: read-only for the cgroup" 1 "not permitted" --device /dev/kmsg:/dev/elsewhere:r -- sh -c ': >/dev/elsewhere'
	expect "device: writable for the cgroup" 0 "" --device /dev/kmsg:/dev/elsewhere:w -- sh -c ': >/dev/elsewhere'
	refuses "device: another is refused" 1 "not permitted" -- sh -c 'mknod /dev/other c 1 11 && head -c 1 /dev/other'
	expect "device: --device-cgroup-rule" 0 1:8 --device-cgroup-rule 'c 1:8 rmw' -- sh -c 'mknod /dev/other c 1 8 && head -c 1 /dev/other >/dev/null && stat -c %t:%T /dev/other'
	expect "devices: /dev" 0 "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero" -- sh -c 'echo $(ls /dev | grep -vx core)' # a link to /proc/kcore, if there is one
	expect "sysctl: net and ipc" 0 "1 12345" --sysctl net.ipv4.ip_forward=1 --sysctl kernel.msgmax=12345 -- \
		sh -c 'echo $(cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax)'
	expect "secret: a file" 0 hidden --secret s1 -- cat /run/secrets/s1 < <(printf hidden | podman secret create s1 - >/dev/null)
	podman secret rm s1 >/dev/null
}

check_userns() {
	local map=(--uidmap 0:100000:1000 --gidmap 0:200000:1000)
	expect "userns: maps" 0 "0 100000 1000 0 200000 1000" "${map[@]}" -- sh -c 'echo $(cat /proc/self/uid_map /proc/self/gid_map)'
	# podman's storage cannot mount an image with several maps.
	small_root "$dir/mapped" && chown -R 100000:100000 "$dir/mapped"
	does "userns: several" 0 "0 100000 1 1 300000 10" run --rm --uidmap 0:100000:1 --uidmap 1:300000:10 --gidmap 0:100000:20 \
		--rootfs "$dir/mapped" /bin/busybox sh -c 'echo $(/bin/busybox cat /proc/self/uid_map)'
	expect "userns: owner of the root" 0 "0:0 1000:1000" --uidmap 0:100000:2000 -- sh -c 'echo $(stat -c %u:%g / /home/alice)'
	expect "userns: capabilities" 0 $default_capabilities "${map[@]}" -- "${cap_eff[@]}"
	expect "userns: a user and her groups" 0 "7 9" "${map[@]}" --user 7:9 -- sh -c 'echo $(id -u) $(id -g)'
	sleeper "${map[@]}"
	matches "userns: the host's view" "^100000 200000$" "$(stat -c '%u %g' "/proc/$(of .State.Pid)")"
	execs "userns: exec" 0 "0 100000 1000 5" -u 5 "$id" sh -c 'echo $(cat /proc/self/uid_map) $(id -u)'
	expect "userns: container:ID" 0 "$(podman exec "$id" readlink /proc/1/ns/user)" --userns "container:$id" -- readlink /proc/self/ns/user
	podman stop -t 0 "$id" >/dev/null 2>&1
	is "userns: stop" "exited 137" "$(status) $(of .State.ExitCode)"
	remove
	expect "userns: auto" 0 "0 1000000 4096" --userns auto:size=4096 -- sh -c 'echo $(cat /proc/self/uid_map)'
	expect "userns: host network" 0 "$(readlink /proc/self/ns/net)" --net host "${map[@]}" -- readlink /proc/self/ns/net
	refuses "userns: missing from PATH is 127" 127 'executable file not found in \$PATH' "${map[@]}" -- no-such-program
}

check_hooks() {
	local stage
	mkdir -p "$dir/hooks" && rm -f "$dir/hooked"
	printf '#!/bin/sh\necho "$1 $(jq -r .status) $STAGE" >>%s/hooked\n' "$dir" >"$dir/hook" && chmod +x "$dir/hook"
	for stage in prestart createRuntime createContainer poststart poststop; do
		jq -n --arg stage $stage --arg path "$dir/hook" '{version: "1.0.0", when: {always: true}, stages: [$stage],
			hook: {path: $path, args: ["hook", $stage], env: ["PATH=/usr/bin:/bin", "STAGE=in-env"]}}' >"$dir/hooks/$stage.json"
	done
	rm "$dir/hooks/createContainer.json" # it would run in the container's root
	podman --hooks-dir "$dir/hooks" run --rm "$image" echo x >"$dir/out" 2>"$dir/err"
	is "hooks: output" x "$(<"$dir/out")" "$(<"$dir/err")"
	wait_until grep -qs poststop "$dir/hooked"
	is "hooks: stages and states" "createRuntime in-env poststart in-env poststop in-env prestart in-env" \
		"$(sed 's/ [a-z]* / /' "$dir/hooked" | sort | xargs)"
	printf '#!/bin/sh\necho no thanks >&2\nexit 1\n' >"$dir/hook"
	podman --hooks-dir "$dir/hooks" run --rm "$image" echo x >"$dir/out" 2>"$dir/err"
	matches "hooks: one that fails stops it" "^12[67] .*hook" "$? $(<"$dir/err")"
	is "hooks: and nothing ran" "" "$(<"$dir/out")"
}
