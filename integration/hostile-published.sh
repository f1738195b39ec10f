# The rows of integration/hostile after published attacks on runtimes (docs/security.md), and
# after faults of others that have no number (D-X…).

row CVE-2016-3697 "a uid is shadowed by a user name of the image"
row_CVE_2016_3697() {
	bundle 'sh("id -u; id -g; echo ran") | .process.user = {uid: 1000, gid: 1000}'
	echo '1000:x:0:0::/:/bin/sh' >"$rootfs/etc/passwd"
	echo '1000:x:0:' >"$rootfs/etc/group"
	run
	escaped_if "another id: $out" test "$out" != $'1000\n1000\nran'
}

# Starts a container in which processes can be added.
running() { # FILTER
	bundle "$1"
	on run --detach --bundle "$bundle" "$id"
	[ "$rc" = 0 ] || broken "the container did not start: $err"
}

row CVE-2016-9962 "the container traces a process of exec"
row_CVE_2016_9962() {
	running 'capabilities(["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"]) |
		sh("while :; do for p in /proc/[0-9]*; do case $p in /proc/1) continue;; esac
		readlink $p/exe $p/cwd $p/root $p/fd/*; done >>/tmp/seen 2>/dev/null; echo x >>/tmp/rounds; done")'
	local spy=$rootfs number=0
	until rounds_after 5 "$spy/tmp/rounds" && [ $((++number)) -gt 15 ]; do on exec "$id" /bin/echo ran; done
	escaped_if "$(grep -m 1 -e "$dir" -e json -e cgroup -e 'mnt:' "$spy/tmp/seen") is seen" \
		grep -q -e "$dir" -e json -e cgroup -e 'mnt:' "$spy/tmp/seen"
	remove
}

row CVE-2019-5736 "the runtime's binary is executed or written from inside"
row_CVE_2019_5736() {
	cp "$runtime" "$dir/runtime" && runtime=$dir/runtime
	runs_itself
	keeps_exe
	# A container among the processes of the host tries every one's program while others start.
	bundle 'without("pid") | sh("while :; do for exe in /proc/[0-9]*/exe; do
		case $(readlink $exe) in */runtime) true >>$exe && readlink $exe >>/tmp/hits;; esac
		done 2>/dev/null; echo x >>/tmp/rounds; done")'
	local scanner=$rootfs before number=0
	before=$(sha256sum <"$runtime")
	on run --detach --bundle "$bundle" scanner
	[ "$rc" = 0 ] || broken "the scanner did not start: $err"
	second 'sh("echo ran")'
	until rounds_after 5 "$scanner/tmp/rounds" && [ $((++number)) -gt 15 ]; do run; done 2>/dev/null
	escaped_if "$(head -n 1 "$scanner/tmp/hits" 2>/dev/null) is open for writing" test -s "$scanner/tmp/hits"
	remove scanner
	is_same "the binary" "$before" "$(sha256sum <"$runtime")"
}

row CVE-2019-16884 "a volume over /proc takes the security label"
row_CVE_2019_16884() { not_applicable "no label is seen without an LSM; in the guest with tests/apparmor.rs and tests/selinux.rs"; }

row CVE-2019-18837 "a link of the image leads a mount point to the host"
row_CVE_2019_18837() {
	local link made kind
	for link in "$canary" ../../canary; do
		for made in '' /made/deep /sub /ptmx/x; do
			for kind in '{type: "tmpfs", source: "none"}' '{type: "bind", source: "/usr", options: ["bind"]}' \
				'{type: "bind", source: "/etc/hosts", options: ["bind"]}'; do
				bundle "sh(\"echo ran\") | mount({destination: \"/a$made\"} + $kind)"
				ln -s "$link" "$rootfs/a"
				run
				tried
			done
		done
	done
	bundle 'sh("echo ran") | .process.cwd = "/a/made"' && ln -s "$canary" "$rootfs/a"
	run
	tried
}

row CVE-2019-19921 "a link passes for /proc or /sys (CVE-2023-27561, CVE-2023-28642)"
row_CVE_2019_19921() {
	local name target
	for name in proc sys; do
		for target in evil ../../canary "$canary"; do
			bundle 'sh("echo ran")' && mkdir "$rootfs/evil" && rmdir "$rootfs/$name" && ln -s "$target" "$rootfs/$name"
			run
			refusal=/$name escaped_if "$name is mounted on a link" has "$out" ran
		done
	done
}

# Exchanges a directory of a volume for a link to the host until it is killed.
exchange() { # DIRECTORY LINK
	python3 -c 'import ctypes, sys
call, a, b = ctypes.CDLL(None).renameat2, sys.argv[1].encode(), sys.argv[2].encode()
if call(-100, a, -100, b, 2): sys.exit("renameat2")
while True: call(-100, a, -100, b, 2)' "$@" &
}

# Starts during which a directory of a volume is exchanged for a link to the host.
race() { # FILTER
	local volume=$dir/volume link tries=0 ran=0 end
	for link in "$canary" "$(realpath -m --relative-to="$dir/bundle/rootfs/v" "$canary")"; do
		rm -rf --one-file-system "$volume" && mkdir -p "$volume/a/sub"
		ln -s "$link" "$volume/b"
		bundle "sh(\"echo ran\") | bind(\$dir + \"/volume\"; \"/v\"; []) | $1"
		exchange "$volume/a" "$volume/b"
		end=$((SECONDS + 4))
		while [ $SECONDS -lt $end ] && [ "$(of_canary)" = "$before" ]; do
			run && tries=$((tries + 1)) && tried
			if has "$out" ran; then ran=$((ran + 1)); fi
		done
		kill $! || broken "nothing is exchanged"
	done
	[ $tries -gt 3 ] && [ $ran -gt 0 ] || broken "$tries starts, and the program ran $ran times"
}

row CVE-2021-30465 "a mount point is exchanged for a link to the host while it is mounted on"
row_CVE_2021_30465() {
	# Whatever is mounted outside of the root is seen here, too.
	mount --make-rshared /
	race 'del(.linux.maskedPaths) | del(.linux.readonlyPaths) | .linux.rootfsPropagation = "rshared"
		| mount(range(10) | {destination: "/v/a/sub", type: "tmpfs", source: "none"})'
}

row CVE-2024-45310 "a directory is exchanged for a link to the host while others are created in it"
row_CVE_2024_45310() {
	race 'mount(range(5) | {destination: "/v/a/new\(.)/deep", type: "tmpfs", source: "none"})
		| bind("/etc/hosts"; "/v/a/file"; []) | .process.cwd = "/v/a/directory"'
}

row CVE-2021-43784 "sizes overflow a message between parent and init"
row_CVE_2021_43784() {
	bundle 'sh("echo ${#BIG} $(grep -c \" /m/\" /proc/self/mountinfo) $(id -u) ran")
		| .annotations = {big: ("x" * 2000000)} | .process.env += ["BIG=" + ("y" * 100000)]
		| mount(range(300) | {destination: "/m/\(.)", type: "tmpfs", source: "none"})'
	run
	escaped_if "$out" test "$rc" -eq 0 -a "$out" != "100000 300 0 ran"
}

row CVE-2022-29162 "capabilities that the config does not list are inheritable (CVE-2022-27650)"
row_CVE_2022_29162() {
	bundle 'sh("grep -E \"Cap(Inh|Amb)\" /proc/self/status; echo ran")'
	run
	escaped_if "$out" eval '[[ ! $out =~ CapInh:.0000000000000000.*CapAmb:.0000000000000000 ]]'
}

row CVE-2023-25809 "without root the container writes to the cgroup tree"
row_CVE_2023_25809() { not_applicable "needs a runtime that works without root"; }

row CVE-2024-21626 "a descriptor of the host is the working directory, or leads to the program"
row_CVE_2024_21626() {
	local number
	exec 7<"$canary" 6</
	for number in $(seq 3 16); do
		bundle "sh(\"cat secret ./../../../../../../../../../../..$canary/secret; echo ran\")
			| .process.cwd = \"/proc/self/fd/$number\""
		run
		refusal='cwd|/proc/self/fd' escaped_if "cwd /proc/self/fd/$number" has "$out" "$secret"
	done
	exec 7<&- 6<&-
	install -m 755 "$(type -P busybox)" "$dir/busybox"
	exec 9<"$dir"
	bundle '.process.args = ["/proc/self/fd/9/busybox", "echo", "outside"]'
	run
	refusal=busybox escaped_if "a program of the host was run" has "$out" outside
	exec 9<&-
}

row GHSA-c5pj-mqfh "annotations set any property of systemd (CVE-2024-3154)"
row_GHSA_c5pj_mqfh() {
	on features
	case $rc$(jq -r '.potentiallyUnsafeConfigAnnotations // "" | tostring' <<<"$out") in
	0*org.systemd.property.*) held ;;
	*) not_applicable "features lists no unsafe annotations" ;;
	esac
}

row CVE-2025-31133 "a false null device of the image masks (CVE-2025-62161)"
row_CVE_2025_31133() {
	local target
	for target in /proc/sys/kernel/hostname ../../canary/null "$canary/secret"; do
		bundle 'sh("echo ran") | without_dev | without("uts") | bind($dir + "/dev"; "/dev"; [])'
		rm -rf --one-file-system "$dir/dev" && mkdir "$dir/dev" && ln -s "$target" "$dir/dev/null"
		run
		refusal=/dev/null escaped_if "started with a false null device" has "$out" ran
	done
}

row CVE-2025-52565 "the console is bound on a link of the image"
row_CVE_2025_52565() {
	bundle 'sh("[ -f /dev/console ] && cat /dev/console; echo ran") | .process.terminal = true | without_dev
		| del(.linux.maskedPaths) | bind($dir + "/dev"; "/dev"; [])
		| mount({destination: "/dev/pts", type: "devpts", source: "devpts", options: ["newinstance", "ptmxmode=0666"]})'
	local target
	for target in "$canary/secret" "$canary/console"; do
		rm -rf --one-file-system "$dir/dev" && mkdir -p "$dir/dev/pts" && ln -s "$target" "$dir/dev/console"
		ln -s pts/ptmx "$dir/dev/ptmx" && mknod "$dir/dev/null" c 1 3
		script -qec "timeout 5 \"$runtime\" --root \"$root\" run --bundle \"$bundle\" $id" /dev/null </dev/null >"$dir/typescript"
		out=$(cat "$dir/typescript") err='' rc=1
		refusal=console escaped_if "a file of the host was bound" has "$out" "$secret"
		remove
	done
}

row CVE-2025-52881 "a volume in /proc redirects a sysctl (CVE-2025-62596)"
row_CVE_2025_52881() {
	local target=/proc/sys/kernel/hostname
	mkdir -p "$dir/net/ipv4" && ln -s $target "$dir/net/ipv4/ip_forward"
	bundle 'sh("cat /proc/sys/net/ipv4/ip_forward; echo ran") | without("uts") | del(.linux.readonlyPaths)
		| .linux.sysctl = {"net.ipv4.ip_forward": "1"} | bind($dir + "/net"; "/proc/sys/net"; [])'
	run
	refusal=proc/sys tried # the host's name decides, which is that of the row's own namespace
	bundle 'sh("echo ran") | without("uts") | del(.linux.readonlyPaths)
		| .linux.sysctl = {"net.ipv4.ip_forward": "1"} | bind("/proc/sys/kernel/hostname"; "/proc/sys/net/ipv4/ip_forward"; [])'
	run
	refusal=proc/sys tried
}

row CVE-2026-41579 "the image's /dev is a link to the host (CVE-2026-47766)"
row_CVE_2026_41579() {
	local target
	for target in "$canary" ../../canary; do
		bundle 'sh("echo ran") | without_dev | del(.linux.maskedPaths)' && rmdir "$rootfs/dev" && ln -s "$target" "$rootfs/dev"
		run
		tried
		bundle 'sh("echo ran") | .linux.devices = [{path: "/dev/x", type: "c", major: 1, minor: 5}]'
		rmdir "$rootfs/dev" && ln -s "$target" "$rootfs/dev"
		run
		tried
	done
}

row CVE-2025-24965 "a file of the runtime's own is written through a link of the image"
row_CVE_2025_24965() {
	bundle 'sh("echo ran") | .annotations = {"run.oci.handler": "krun"}'
	ln -s "$canary/krun" "$rootfs/.krun_config.json"
	run
	tried
}

row CVE-2026-30892 "exec reads a user as another"
row_CVE_2026_30892() {
	running 'sh("sleep 1000")'
	local user
	for user in 1 1:2 65534; do
		on exec --user "$user" "$id" /bin/sh -c 'id -u; echo ran'
		escaped_if "--user $user is $out" test "${out%%$'\n'*}" != "${user%:*}"
	done
	remove
}

row D-X1 "delete takes a path for an id"
row_D_X1() {
	bundle 'sh("exec sleep 100")'
	create && start
	local name
	for name in .. . "" ../root "$id/.." "../../canary"; do
		on delete --force "$name"
		on delete --force -- "$name"
		[ -d "$root/$id" ] || { escaped "delete of '$name' removed another state" && return; }
	done
	runtime state "$id" >/dev/null 2>&1 && held
	remove
}

row D-X2 "ids that mean 'leave it as it is' start as root"
row_D_X2() {
	local number property
	for number in 4294967295 -1 4294967296; do
		for property in uid gid; do
			bundle "sh(\"id -$(cut -c 1 <<<$property); echo ran\") | .process.user.$property = $number"
			run
			refusal='[ug]id| id' escaped_if "$property $number is root" has "$out" $'0\nran'
		done
	done
}

row D-X3 "exec reads a number as root"
row_D_X3() {
	running 'sh("sleep 1000")'
	local user
	for user in -1 4294967295 4294967296 4294967297 0x1; do
		on exec --user "$user" "$id" /bin/sh -c 'id -u; echo ran'
		escaped_if "--user $user runs as $out" has "$out" ran
	done
	remove
}

row D-X4 "cgroupsPath leads out of the hierarchy"
row_D_X4() {
	local path before
	# What was cleaned lies below the hierarchies, in cgroups of that name.
	before=$(cgroups_of "$(dirname "$dir" | cut -d / -f 2)")
	for path in "/../../../../../.." ../../../../../..; do
		bundle "sh(\"echo ran\") | .linux.cgroupsPath = \"$path$canary/cgroup\""
		run
		tried
	done
	cgroups_of "$(dirname "$dir" | cut -d / -f 2)" | grep -vxF "${before:-none}" | while read -r path; do rmdir "$path"; done
}

row D-X5 "ids that are no names are taken"
row_D_X5() {
	local name
	bundle 'sh("exec sleep 100")'
	for name in 'a b' $'a\nb' 'ä' 'a*' 'a;b' $'\e[31m'; do
		on create --bundle "$bundle" -- "$name"
		refusal='[Ii][Dd]|name' escaped_if "'$name' is taken" test "$rc" -eq 0
		remove "$name"
	done
}

row D-X6 "flags of a bind are dropped, or those of its source cleared"
row_D_X6() {
	mkdir "$dir/data" && echo reached >"$dir/data/file" && ln -s file "$dir/data/link"
	bundle 'sh("cat /data/link; echo ran") | bind($dir + "/data"; "/data"; ["nosymfollow"])'
	run
	escaped_if "nosymfollow is dropped" has "$out" reached
	mount -t tmpfs -o noexec,nosuid,nodev tmpfs "$dir/data"
	mount -o remount,bind,ro,noexec,nosuid,nodev "$dir/data"
	bundle 'sh("touch /data/new && echo written; grep \" /data \" /proc/self/mountinfo; echo ran")
		| bind($dir + "/data"; "/data"; [])'
	run
	escaped_if "a read-only source is writable" has "$out" written
	escaped_if "flags of the source are cleared" eval '[[ $out == *ran* && ! $out =~ nosuid,nodev,noexec ]]'
}

row D-X7 "options of a mount are ignored"
row_D_X7() {
	mkdir "$dir/data"
	bundle 'sh("grep \" /data \" /proc/self/mountinfo; echo ran") | bind($dir + "/data"; "/data"; ["rshared"])'
	run
	escaped_if "shared is ignored" eval '[[ $out == *ran* && $out != *shared:* ]]'
	bundle 'sh("grep \" /data \" /proc/self/mountinfo; echo ran")
		| mount({destination: "/data", type: "tmpfs", source: "none", options: ["sync"]})'
	run
	escaped_if "sync is ignored" eval '[[ $out == *ran* && $out != *sync* ]]'
}

row D-X8 "two profiles are taken for one by a cache"
row_D_X8() {
	local number text
	for number in 1:permitted 38:implemented 28:space; do
		bundle "sh(\"mkdir /tmp/x; echo ran\") | .linux.seccomp = denied(\"mkdir\"; ${number%:*})"
		run
		text=$out$err
		escaped_if "errno ${number%:*} became: $text" eval '[[ $text != *${number#*:}* ]]'
	done
}

row D-X9 "a program of no known format is given to a shell"
row_D_X9() {
	bundle '.process.args = ["/program"]' && echo 'echo outside' >"$rootfs/program" && chmod 755 "$rootfs/program"
	run
	refusal='/program|format' escaped_if "it was run" has "$out" outside
}
