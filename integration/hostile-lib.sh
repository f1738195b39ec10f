# What the rows of integration/hostile are written with: bundles, the runtime's commands, and
# verdicts. Meant for bash. A row has $runtime (the program), $root (its state directory),
# $dir (the row's own), $canary (a directory of the host that must not change), $token (the
# container's cgroup).

rows=() # in the order of the table
declare -A about=()
secret=canary-of-the-host
id=hostile

row() { rows+=("$1") about[$1]=$2; } # NAME WORDS

# ---- bundles ----

# What filters of config.json are written with.
definitions='
def sh($script): .process.args = ["/bin/sh", "-c", $script];
def mount(entries): .mounts += [entries];
def bind($source; $destination; $options):
	mount({$destination, type: "bind", $source, options: (["rbind"] + $options)});
def hook($when; $script): .hooks[$when] += [{path: "/bin/sh", args: ["sh", "-c", $script]}];
def capabilities($names):
	.process.capabilities = ({} | .bounding = $names | .permitted = $names | .effective = $names);
def namespace($entry): .linux.namespaces |= (map(select(.type != $entry.type)) + [$entry]);
def without($kind): .linux.namespaces |= map(select(.type != $kind));
def without_dev: .mounts |= map(select(.destination | startswith("/dev") | not));
def denied($name; $errno): {defaultAction: "SCMP_ACT_ALLOW",
	syscalls: [{names: [$name], action: "SCMP_ACT_ERRNO", errnoRet: $errno}]};
'
config='{
	ociVersion: "1.0.2",
	process: {user: {uid: 0, gid: 0}, args: ["/bin/true"], env: ["PATH=/bin"], cwd: "/", noNewPrivileges: false},
	root: {path: "rootfs"},
	mounts: [
		{destination: "/proc", type: "proc", source: "proc"},
		{destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755"]},
		{destination: "/dev/pts", type: "devpts", source: "devpts",
			options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
		{destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"]}
	],
	linux: {
		namespaces: [{type: "pid"}, {type: "mount"}, {type: "ipc"}, {type: "uts"}, {type: "network"}],
		cgroupsPath: ("/" + $token),
		maskedPaths: ["/proc/timer_list"], readonlyPaths: ["/proc/sys"]
	}
} | capabilities(["CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP",
	"SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE"] | map("CAP_" + .))' # as Docker

second() { # FILTER: a bundle of the same image beside the first one; sets bundle and rootfs
	mkdir "$dir/second" && cp -a "$rootfs" "$dir/second/rootfs"
	bundle=$dir/second rootfs=$dir/second/rootfs
	filter "$bundle/config.json" ".linux.cgroupsPath += \"-second\" | $1"
}

filter() { # OUT FILTER: a config.json that the filter changed; $canary and $dir are known to it
	jq -n --arg token "$token" --arg canary "$canary" --arg dir "$dir" "$definitions $config | $2" >"$1" ||
		broken "the row's config is wrong"
}

bundle() { # FILTER: a new bundle; sets bundle and rootfs
	bundle=$dir/bundle rootfs=$dir/bundle/rootfs
	rm -rf --one-file-system "$bundle"
	mkdir -p "$rootfs"/{bin,dev,etc,proc,root,sys,tmp}
	cp "$(type -P busybox)" "$rootfs/bin/busybox"
	chroot "$rootfs" /bin/busybox --install -s /bin
	if [ -e "${intruder-}" ]; then cp "$intruder" "$rootfs/bin/intruder"; fi
	filter "$bundle/config.json" "$1"
}

# A program that seizes its pid 1 and injects system calls, with the tests'; not everywhere is a compiler.
build_intruder() {
	export intruder=$scratch/intruder
	[ "$(uname -m)" = x86_64 ] || return
	cc -static -O1 -o "$intruder" "$here/../tests/init_exploits/intruder.c" 2>/dev/null || rm -f "$intruder"
}

# ---- commands ----

bounded() { # COMMAND...: sets rc, out and err; 124 or 137: it was given up
	# shellcheck disable=SC2034
	timeout -k 1 "${patience:-8}" "$@" >"$dir/out" 2>"$dir/err"
	rc=$?
	out=$(tr -d '\0' <"$dir/out") err=$(tr -d '\0' <"$dir/err")
}

runtime() { "$runtime" --root "$root" "$@"; }
# crun gives its input to the user of a process; the host's /dev/null must not be that.
exec 8< <(:)
on() { bounded "$runtime" --root "$root" "$@" <&8 8<&-; } # VERB ARGUMENT...: sets rc, out and err
run() { on run "$@" --bundle "$bundle" "$id" && quietly delete --force "$id"; }
create() { # a verdict, if it fails
	on create --bundle "$bundle" --pid-file "$dir/pid" "$id"
	[ "$rc" = 0 ] || broken "create: status $rc, $err"
}
start() { on start "$id"; }
start_to_end() { # its program prints, to the file of `create`, after `start` has returned
	start
	[ "$rc" != 0 ] || wait_until has_run
}
has_run() { out=$(tr -d '\0' <"$dir/out") && has "$out" ran; }
remove() { quietly delete --force "${1:-$id}"; }
quietly() { timeout -k 1 5 "$runtime" --root "$root" "$@" >/dev/null 2>&1; }

# ---- verdicts ----

held() { echo "held $*" >>"$dir/verdict"; }
escaped() { tr '\n' ' ' <<<"escaped $*" | head -c 500 >>"$dir/verdict" && echo >>"$dir/verdict"; }
broken() { tr '\n' ' ' <<<"broken $*" | head -c 500 >>"$dir/verdict" && echo >>"$dir/verdict"; }
not_applicable() { echo "n/a $*" >>"$dir/verdict"; }

has() { [[ $1 == *"$2"* ]]; }
hangs() { [ "$rc" = 124 ] || [ "$rc" = 137 ]; }

# An attack was made, and failed: its program printed 'ran', or the runtime refused with an error. What a runtime has to
# refuse it refuses for the attack, not for a fault of the config: $refusal, an ERE, matches the error.
tried() {
	if has "$out" ran; then
		held "the program ran"
	elif { [ "$rc" -gt 0 ] && [ "$rc" -lt 124 ] || [ "$rc" = 255 ]; } && [ -n "$out$err" ]; then
		[[ $err$out =~ ${refusal:-.} ]] || broken "refused for another reason than '$refusal': $err$out"
		held "$(head -n 1 <<<"$err$out" | head -c 200)"
	else
		broken "neither ran nor was refused: status $rc, $out $err"
	fi
}

escaped_if() { # WORDS COMMAND...: a verdict on what was run last
	if "${@:2}"; then escaped "$1"; elif hangs; then escaped "hangs"; else tried; fi
}

is_same() { # WHAT BEFORE AFTER
	[ "$2" = "$3" ] || escaped "$1 changed: $(diff <(echo "$2") <(echo "$3") | grep '^[<>]')"
}

of_canary() { # its names, kinds, modes, owners, contents, and what is mounted there
	find "$canary" -printf '%P %y %m %U:%G %s %l\n' | sort
	find "$canary" -type f -exec sha256sum {} + | sort
	grep -F "$canary" /proc/self/mountinfo
}

row_plain() { # what all of them need; no row of the table
	bundle 'sh("echo ran")'
	run
	if has "$out" ran; then held; else broken "$out $err"; fi
}
