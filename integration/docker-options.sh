# The checks of integration/docker of the options of docker run and docker update.
# See docker-lib.sh for what they are written with.

check_update() {
	detached --memory 128m --memory-swap 128m -- sleep 1000
	succeeds "update" update --memory 64m --memory-swap 64m --cpus 0.5 --cpu-shares 512 --pids-limit 50 --cpuset-cpus 0 "$id"
	is "update: memory" 67108864 "$(limit memory.limit_in_bytes memory.max)"
	matches "update: cpus" "^50000" "$(limit cpu.cfs_quota_us cpu.max)"
	is "update: pids" 50 "$(limit pids.max pids.max)"
	is "update: cpuset" 0 "$(limit cpuset.cpus cpuset.cpus)"
	succeeds "update: back" update --memory 256m --memory-swap 256m --cpus 2 --cpuset-cpus "$cpus" --pids-limit -1 "$id"
	is "update: back again" "268435456 max" "$(limit memory.limit_in_bytes memory.max) $(limit pids.max pids.max)"
	docker pause "$id" >/dev/null
	succeeds "update: while paused" update --memory 128m --memory-swap 128m "$id"
	is "update: memory of a paused one, still paused" "134217728 paused" "$(limit memory.limit_in_bytes memory.max) $(inspect .State.Status)"
	remove
}

check_limits() {
	detached --memory 64m --memory-swap 96m --memory-reservation 32m --cpus 0.5 --cpu-shares 512 --pids-limit 20 --cpuset-cpus 0 \
		--ulimit nofile=1000:2000 --ulimit core=0 --oom-score-adj 500 --shm-size 2m -- sleep 1000
	is "limits: --memory" 67108864 "$(limit memory.limit_in_bytes memory.max)" "$(<"$dir/err")"
	is "limits: --memory-reservation" 33554432 "$(limit memory.soft_limit_in_bytes memory.low)"
	matches "limits: --cpus" "^50000" "$(limit cpu.cfs_quota_us cpu.max)"
	is "limits: --pids-limit" 20 "$(limit pids.max pids.max)"
	executes "limits: --cpuset-cpus" 0 0 -- sed -n 's/Cpus_allowed_list:\t//p' /proc/self/status
	is "limits: --ulimit" "1000 2000 0 0" "$(awk '/^Max (open|core)/ { print $(NF - 2), $(NF - 1) }' "/proc/$(pid)/limits" | sort -nr | xargs)"
	is "limits: --oom-score-adj" 500 "$(cat "/proc/$(pid)/oom_score_adj")"
	executes "limits: --shm-size" 0 2048 -- sh -c "df -k /dev/shm | awk 'END { print \$2 }'"
	execute_refuses "limits: not more processes" 2 "can't fork" -- sh -c 'for i in $(seq 30); do sleep 1000 >/dev/null 2>&1 & done'
	remove
	# Without CAP_SYS_RESOURCE no limit is raised above the machine's.
	refuses "limits: --ulimit above all" 125 "(rlimit|operation not permitted)" --ulimit nofile=2000000000:2000000000 -- true
}

check_oom() {
	detached --memory 32m --memory-swap 32m -- tail /dev/zero
	is "oom: status" 137 "$(docker wait "$id")"
	wait_until has .State.OOMKilled true
	is "oom: State.OOMKilled" true "$(inspect .State.OOMKilled)"
	remove
	expect "oom: of one process only" 0 "status 137" --memory 32m --memory-swap 32m -- \
		sh -c 'tail /dev/zero 2>/dev/null; echo status $?'
}

status_fields='sed -n "s/^\(CapEff\|CapBnd\|NoNewPrivs\|Seccomp\):\t//p" /proc/self/status'

check_security() {
	expect "security: defaults" 0 "00000000a80425fb 00000000a80425fb 0 2" -- sh -c "echo \$($status_fields)"
	expect "security: a user's capabilities" 0 "0000000000000000 00000000a80425fb 0 2" --user alice -- sh -c "echo \$($status_fields)"
	expect "security: no-new-privileges" 0 "1 2" --security-opt no-new-privileges -- sh -c "echo \$($status_fields | tail -n 2)"
	expect "security: seccomp=unconfined" 0 0 --security-opt seccomp=unconfined -- sh -c "echo \$($status_fields | tail -n 1)"
	expect "security: --cap-drop, --cap-add" 0 "0000000000000401 0000000000000401" --cap-drop ALL --cap-add CHOWN \
		--cap-add NET_BIND_SERVICE -- sh -c "echo \$($status_fields | head -n 2)"
	echo '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 71}]}' \
		>"$dir/profile.json"
	refuses "security: a seccomp profile" 1 "Protocol error" --security-opt "seccomp=$dir/profile.json" -- mkdir /tmp/new
	refuses "security: the default profile" 1 "Operation not permitted" -- unshare --user true
	expect "security: a masked file" 0 "character special file" -- stat -c %F /proc/keys # /dev/null
	refuses "security: a read-only path" 1 "Read-only file system" -- sh -c 'echo here >/proc/sys/kernel/domainname'
	expect "security: systempaths=unconfined" 0 written --security-opt systempaths=unconfined --cap-add SYS_ADMIN -- \
		sh -c 'echo here >/proc/sys/kernel/domainname && echo written'
}

check_devices() {
	expect "devices: --device with another path" 0 "1,3" --device /dev/null:/dev/another -- \
		sh -c 'echo written >/dev/another && stat -c "%t,%T" /dev/another'
	expect "devices: --device that can be written" 0 "" --device /dev/kmsg:/dev/another:rw -- sh -c ': >/dev/another'
	refuses "devices: --device that can only be read" 1 "Operation not permitted" --device /dev/kmsg:/dev/another:r -- sh -c ': >/dev/another'
	local make='mknod /made c 240 77 && head -c 1 /made' # a device that no driver has
	refuses "devices: others" 1 "Operation not permitted" -- sh -c "$make"
	refuses "devices: --device-cgroup-rule" 1 "No such device" --device-cgroup-rule "c 240:* rwm" -- sh -c "$make"
}

check_volumes() {
	local source=$dir/source
	mkdir -p "$source/sub" && echo content >"$source/file"
	expect "volumes: a bind" 0 content --volume "$source:/new/mnt" -- sh -c 'cat /new/mnt/file; echo written >/new/mnt/new'
	is "volumes: what was written is in the source" written "$(cat "$source/new")"
	refuses "volumes: a read-only bind" 1 "Read-only file system" --volume "$source:/mnt:ro" -- touch /mnt/file
	refuses "volumes: --mount readonly of a file" 1 "Read-only file system" \
		--mount "type=bind,src=$source/file,dst=/etc/new,readonly" -- sh -c 'cat /etc/new >/dev/null; echo >/etc/new'
	mount -t tmpfs tmpfs "$source/sub"
	expect "volumes: binds are recursive" 0 1 --volume "$source:/mnt" -- grep -c " /mnt/sub tmpfs" /proc/mounts
	expect "volumes: bind-nonrecursive" 1 0 --mount "type=bind,src=$source,dst=/mnt,bind-nonrecursive" -- grep -c " /mnt/sub tmpfs" /proc/mounts
	umount "$source/sub"
	detached --volume named:/home --volume /anonymous --tmpfs /scratch -- sleep 1000
	executes "volumes: a new one has what was there, with its owner" 0 alice -- stat -c %U /home/alice
	execute -- sh -c 'echo shared >/home/file; echo too >/anonymous/file'
	expect "volumes: a named one is shared" 0 shared --volume named:/other -- cat /other/file
	expect "volumes: --volumes-from" 0 "shared too" --volumes-from "$id" -- sh -c 'echo $(cat /home/file /anonymous/file)'
	remove
	docker volume rm named >/dev/null
}

check_propagation() {
	local source=$dir/propagation kind want
	mkdir "$source" && mount -t tmpfs tmpfs "$source" && mount --make-shared "$source" && mkdir "$source"/{in,out}
	for want in "rprivate: 0 and 0" "rslave: 1 and 0" "rshared: 1 and 1"; do
		kind=${want%%:*}
		detached --cap-add SYS_ADMIN --security-opt apparmor=unconfined --volume "$source:/mnt:$kind" -- sleep 1000
		mount -t tmpfs outside "$source/in"
		execute -- mount -t tmpfs inside /mnt/out
		is "propagation: mounts that went in and out of $kind" "$want" \
			"$kind: $(execute -- grep -c "^outside" /proc/mounts) and $(grep -c "^inside" /proc/mounts)" "$(<"$dir/err")"
		remove
		umount "$source/in"
		umount "$source/out" 2>/dev/null
	done
	umount "$source"
}

check_tmpfs() {
	expect "tmpfs: options" 0 "tmpfs 700 1024" --tmpfs /new/tmp:size=1m,mode=700 -- \
		sh -c 'echo $(stat -f -c %T /new/tmp) $(stat -c %a /new/tmp) $(df -k /new/tmp | awk "END { print \$2 }")'
	expect "tmpfs: --mount" 0 "1777 noexec" --mount type=tmpfs,dst=/tmp,tmpfs-mode=1777 -- \
		sh -c 'echo $(stat -c %a /tmp) $(grep " /tmp " /proc/mounts | grep -q noexec && echo noexec)'
	refuses "read-only root" 1 "Read-only file system" --read-only -- touch /file
	expect "read-only root: tmpfs and volume can be written" 0 "" --read-only --tmpfs /run --volume /data -- touch /run/file /data/file /dev/shm/file
}
