# The rows of integration/hostile that were found in ferrun itself. Each is an exploit with
# evidence that it worked; what an attacker would do with it is left out.

row S1 "code beside the init rewrites the state through /proc/INIT/fd"
row_S1() {
	local rewrite='for f in /proc/[0-9]*/fd/*; do case $f in */[012]) continue ;; esac
		[ -f $f ] && echo for""ged >>$f; done 2>/dev/null'
	bundle "capabilities([\"CAP_SYS_PTRACE\", \"CAP_DAC_OVERRIDE\"]) | sh(\"echo ran\")
		| hook(\"startContainer\"; $(jq -n --arg s "$rewrite; echo x >>/tmp/hook; true" '$s'))"
	create && start_to_end
	[ -e "$rootfs/tmp/hook" ] || broken "the hook did not run: $out $err"
	escaped_if "a hook of the image wrote to the state" grep -rlq forged "$root" "$bundle/config.json"
	remove

	bundle "capabilities([\"CAP_SYS_PTRACE\", \"CAP_DAC_OVERRIDE\"])
		| sh($(jq -n --arg s "while :; do $rewrite; echo x >>/tmp/rounds; done" '$s'))"
	local neighbour=$rootfs
	on run --detach --bundle "$bundle" --pid-file "$dir/neighbour" neighbour
	second "sh(\"echo ran\")
		| namespace({type: \"pid\", path: \"/proc/$(cat "$dir/neighbour")/ns/pid\"})"
	create
	local seen=$(wc -l <"$neighbour/tmp/rounds")
	wait_until rounds_after "$((seen + 2))" "$neighbour/tmp/rounds" || broken "the neighbour does not run"
	start_to_end
	escaped_if "a neighbour wrote to the state" grep -rlq forged "$root"
	remove && remove neighbour
}
rounds_after() { [ "$(wc -l <"$2")" -ge "$1" ]; }

row S2 "startContainer hooks run without the seccomp filter"
row_S2() {
	bundle 'sh("sleep 3") | .linux.seccomp = denied("mkdir"; 28)
		| hook("startContainer"; "grep Seccomp: /proc/self/status >/tmp/hook
			(sleep 1; grep Seccomp: /proc/self/status >/tmp/child) & :")'
	create && start
	wait_until test -s "$rootfs/tmp/child" || broken "the hook did not run: $out $err"
	if grep -q '0$' "$rootfs/tmp/hook" "$rootfs/tmp/child"; then escaped "the hook is unfiltered"; else held; fi
	remove
}

row S3 "who may trace the init before execve gets CAP_SYS_ADMIN, unfiltered"
row_S3() {
	[ -e "$intruder" ] || { not_applicable "no C compiler for the intruder, which knows x86_64 alone" && return; }
	bundle 'capabilities(["CAP_SYS_PTRACE"]) | sh("echo ran") | .linux.seccomp = denied("mkdir"; 28)
		| hook("startContainer"; "/bin/intruder inject 1 >/tmp/report")'
	create && start
	wait_until grep -qs mkdir= "$rootfs/tmp/report"
	seized_more_than_it_may "$rootfs/tmp/report"
	remove
}
seized_more_than_it_may() { # REPORT
	case $(cat "$1") in
	*mount=0* | *sethostname=0*) escaped "injected calls succeed: $(cat "$1")" ;;
	*mkdir=-28 | *mkdir=-1 | *mkdir=-3) held ;;
	*mkdir=*) escaped "an injected call met no filter: $(cat "$1")" ;;
	*) broken "no report: $out $err" ;;
	esac
}

row S4 "a read-only runtime is executed inside, or written after a remount"
row_S4() {
	local copy=$dir/runtime
	cp "$runtime" "$copy" && mount --bind "$copy" "$copy" && mount -o remount,bind,ro "$copy"
	runtime=$copy
	runs_itself
	keeps_exe
}
runs_itself() { # the entrypoint names the program that executes it
	local version
	version=$("$runtime" --version | head -n 1)
	bundle '.process.args = ["/entrypoint"]'
	printf '#!/proc/self/exe --version\n' >"$rootfs/entrypoint" && chmod 755 "$rootfs/entrypoint"
	run
	refusal=entrypoint escaped_if "the runtime ran inside" has "$out$err" "$version"
}
keeps_exe() { # a neighbour keeps the waiting init's program, and writes when nothing runs from it
	bundle 'sh("echo ran")'
	create
	exec 9<"/proc/$(cat "$dir/pid")/exe" || broken "there is no init"
	start && remove
	! mountpoint -q "$runtime" || mount -o remount,bind,rw "$runtime" || broken "the runtime stays read-only"
	wait_until nothing_runs || broken "the runtime's file is still executed"
	if (: >>/proc/self/fd/9) 2>/dev/null; then escaped "the runtime's file can be written through the init's exe"; else held; fi
	exec 9<&-
}
nothing_runs() { ! readlink /proc/[0-9]*/exe | grep -qxF "$runtime"; }

# A new proc in a user namespace shows what was masked, if one of the mount namespace shows it.
reveal='sh("/bin/busybox unshare -mrpf sh -c \"mount -t proc none /proc && echo MOUNTED\"; echo ran")'

row S5 "--no-pivot leaves a proc of the host in the mount namespace"
row_S5() {
	unshare -mrpf mount -t proc none /proc 2>/dev/null || { not_applicable "no user namespaces that may mount proc" && return; }
	# No --no-pivot unmounts a /proc that lies on another: one that shows this pid namespace, and a further one.
	umount -R -l /proc && umount -R -l /proc && mount -t proc proc /proc &&
		mkdir "$dir/x" && mount -t proc proc "$dir/x" || broken "no further proc"
	bundle "$reveal"
	run --no-pivot
	escaped_if "a proc without masks was mounted" has "$out" MOUNTED
}

row S6 "a joined mount namespace has a proc that shows what is masked"
row_S6() {
	unshare -mrpf mount -t proc none /proc 2>/dev/null || { not_applicable "no user namespaces that may mount proc" && return; }
	unshare --mount --propagation private sleep 100 &
	wait_until mounts_apart $! || broken "no mount namespace to join"
	bundle "$reveal | namespace({type: \"mount\", path: \"/proc/$!/ns/mnt\"})"
	run
	kill $! || broken "the mount namespace is gone"
	refusal=proc escaped_if "a proc without masks was mounted" has "$out" MOUNTED
}
mounts_apart() { [ "$(readlink /proc/$1/ns/mnt)" != "$(readlink /proc/self/ns/mnt)" ] && grep -q sleep "/proc/$1/comm"; }

row S7 "the image's /etc/passwd is a file of the kernel, or has no end"
row_S7() {
	local user='sh("echo $HOME; echo ran") | .process.user = {uid: 1000, gid: 1000}'
	bundle "$user" && ln -s /proc/self/environ "$rootfs/etc/passwd"
	CANARY=$'\nu:x:1000:1000::/leaked:\n' run
	escaped_if "a file of the kernel was read" has "$out" leaked
	bundle "$user" && mkfifo "$rootfs/etc/passwd"
	patience=3 run
	escaped_if "a fifo was read" hangs
}

row S8 "a device's mode is changed by a name in the /proc of a joined mount namespace"
row_S8() {
	unshare --mount --propagation private sh -c 'mount -t tmpfs none /proc; mkdir -p /proc/self/fd /proc/thread-self
		for n in $(seq 0 60); do ln -s "$1" /proc/self/fd/$n; done; ln -s ../self/fd /proc/thread-self/fd
		: >"$2"; exec sleep 100' sh "$canary/secret" "$dir/ready" &
	wait_until test -e "$dir/ready" || broken "no mount namespace to join"
	bundle "sh(\"echo ran\") | .linux.maskedPaths = [] | .linux.readonlyPaths = []
		| namespace({type: \"mount\", path: \"/proc/$!/ns/mnt\"})
		| .linux.devices = [{path: \"/tmp/pipe\", type: \"p\", fileMode: 2450, uid: 5, gid: 5}]"
	run
	kill $! || broken "the mount namespace is gone"
	refusal='proc|pipe' tried # the canary decides
}

row S9 "streams that are terminals or devices get the container's owner for good"
row_S9() {
	bundle 'sh("echo ran") | .process.user = {uid: 1234, gid: 1234}'
	script -qec "\"$runtime\" --root \"$root\" run --bundle \"$bundle\" $id; stat -c 'owner %u' \$(tty)" \
		/dev/null </dev/null >"$dir/typescript"
	out=$(cat "$dir/typescript") err='' rc=0
	has "$out" "owner " || broken "no terminal: $out"
	escaped_if "the terminal was given away" has "$out" "owner 1234"
	remove
	mknod "$dir/device" c 1 5
	on run --bundle "$bundle" "$id" <"$dir/device"
	escaped_if "a device was given away" is_owned 1234 "$dir/device"
	remove
}
is_owned() { [ "$(stat -c %u "$2")" = "$1" ]; }

row S10 "devices are created or changed in a /dev of the host, by a link of the image"
row_S10() {
	mknod -m 600 "$dir/zero" c 1 5
	local made='{path: ("/devl/" + .), type: "c", major: 1, minor: 5, fileMode: 438, uid: 5, gid: 6}'
	local destination
	for destination in /dev /devl; do
		bundle "sh(\"echo ran\") | without_dev | .linux.maskedPaths = [] | .linux.devices = [\"zero\", \"new\" | $made]
			| bind(\$dir + \"/host\"; \"$destination\"; [])"
		ln -s /dev "$rootfs/devl"
		rm -rf --one-file-system "$dir/host" && mkdir -p "$dir/host" && mknod -m 600 "$dir/host/zero" c 1 5
		run
		escaped_if "the host's node has another owner" is_owned 5 "$dir/host/zero"
		escaped_if "a node was created in the host's /dev" test -e "$dir/host/new"
	done
}

row S11 "a child without memory ends the runtime, or start succeeds without the program"
row_S11() {
	bundle 'sh("echo x >/tmp/started; echo ran") | without("pid") | .process.env += [range(20000) | "E\(.)=x"]
		| .process.rlimits = [{type: "RLIMIT_AS", soft: 1, hard: 1}]'
	run
	refusal='memory|resource|too long' escaped_if "run ends by a signal" test "$rc" -ge 128 -a "$rc" -ne 255
	on create --bundle "$bundle" "$id"
	if [ "$rc" -eq 0 ]; then
		start
		sleep 0.3
		if [ "$rc" -eq 0 ] && [ ! -e "$rootfs/tmp/started" ]; then escaped "start succeeds without the program"; fi
	fi
	remove
}

row S12 "an init is dumpable after its last change of ids"
row_S12() {
	not_applicable "needs fs.suid_dumpable, which is the whole machine's: tests/init_failures.rs sets it in the guest"
}

row S13 "a state or config that others wrote is believed, or waited for"
row_S13() {
	bundle 'sh("exec sleep 100") | .hooks.poststop = [{path: "/bin/touch", args: ["touch", $dir + "/hook"]}]'
	create
	chown -R 1000:1000 "$root"
	on delete --force "$id"
	refusal='own|trust' escaped_if "a hook of a foreign state was run" test -e "$dir/hook"
	chown -R 0:0 "$root" && remove

	bundle . && rm "$bundle/config.json" && mkfifo "$bundle/config.json"
	patience=3 run
	refusal=config escaped_if "a fifo as config.json" hangs

	local file tree=$dir/tree
	bundle 'sh("exec sleep 100")' && create && start
	file=$(find "$root/$id" -name state.json -o -name status | head -n 1)
	mkdir -p "$tree/of/empty/directories"
	sed -i "s#/sys/fs/cgroup[^\"]*#$tree#g; s#\"/$token\"#\"/../../../../../..$tree\"#g" "$file"
	grep -qF "$tree" "$file" || broken "no cgroup in the state"
	on delete --force "$id"
	if [ ! -e "$tree/of/empty/directories" ]; then escaped "delete removed a tree that is no cgroup"; else held; fi
	rm -f "$file" && mkfifo "$file"
	patience=3 on state "$id"
	refusal=state escaped_if "a fifo as state" hangs
}

row S14 "a config or an image that is nested deeply ends the runtime"
row_S14() {
	bundle 'sh("echo ran")'
	python3 -c 'import sys; n = 40000; print(sys.argv[1][:-1], ", \"x\":", "[" * n, "]" * n, "}")' \
		"$(jq -c . "$bundle/config.json")" >"$dir/deep" && mv "$dir/deep" "$bundle/config.json"
	run
	escaped_if "config.json: ends by a signal" crashed

	bundle 'sh("echo ran") | mount({destination: "/deep", type: "tmpfs", source: "none", options: ["tmpcopyup"]})'
	mkdir "$rootfs/deep"
	python3 -c 'import os, sys
os.chdir(sys.argv[1])
for _ in range(20000): os.mkdir("d"); os.chdir("d")' "$rootfs/deep"
	patience=20 run
	escaped_if "tmpcopyup: ends by a signal" crashed
}
crashed() { [[ $rc -ge 128 && $rc -ne 255 || $err =~ SIG(SEGV|ABRT|BUS)|[Ss]egmentation|signal\ (11|6)|status\ 13[49] ]]; }

row S15 "control characters of a config reach the terminal"
row_S15() {
	local name
	for name in '.mounts += [{destination: "/a", type: "x\u001b[31m", source: "none"}]' \
		'.mounts += [{destination: "/a\u001b[31m", type: "bind", source: "/nowhere\u001b[31m", options: ["bind"]}]' \
		'.process.args = ["x\u001b[31m"]' '.process.cwd = "x\u001b[31m"' '.linux.sysctl["\u001b[31m"] = "1"' \
		'.hooks.createRuntime = [{path: "/x\u001b[31m"}]' '.process.rlimits = [{type: "\u001b[31m", soft: 1, hard: 1}]'; do
		bundle "$name"
		run
		refusal='31m|no such device|[Cc]wd|[Rr]limit' escaped_if "$name" has "$err$out" $'\e'
	done
}

row S16 "start succeeds for a killed container; a file that is written follows a link"
row_S16() {
	bundle 'sh("echo ran") | hook("startContainer"; ": >/tmp/hook; exec sleep 5")'
	create
	(start && echo "$rc" >"$dir/status") &
	wait_until test -e "$rootfs/tmp/hook" || broken "the hook did not run"
	kill -KILL "$(cat "$dir/pid")"
	wait $!
	if [ "$(cat "$dir/status")" = 0 ]; then escaped "start succeeds"; else held; fi
	remove

	has "$("$runtime" run --help 2>&1)" --trace || return
	bundle 'sh("echo ran")'
	ln -s "$canary/secret" "$dir/link"
	run --trace "$dir/link"
	refusal=/link tried # the canary decides
}
