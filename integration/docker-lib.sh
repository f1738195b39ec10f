# What the checks of integration/docker are written with: the daemons, the command docker,
# and helpers that run a container and compare. $runtime is the program under test, $token
# the parent of all its cgroups, $dir the directory below which everything of the run is.

image=busybox:ferrun
hangs=0
cpus=$(taskset -cp $$ | sed "s|.*: ||")

# The client that belongs to the daemon: a machine may have another one first on its PATH.
client() {
	local directory=$(dirname "$(type -P dockerd)") each
	for each in "$directory/docker" "$directory/../bin/docker"; do
		if [ -x "$each" ]; then echo "$each" && return; fi
	done
	type -P docker
}

docker() { # for at most 30 seconds. -v, because what was killed has status 137 then
	timeout -v -s KILL 30 "$docker" "$@"
}

# ---- the daemons ----

write_configuration() {
	docker=$(client)
	export DOCKER_HOST=unix://$dir/docker.sock HOME=$dir/home
	cat >"$dir/config.toml" <<-END
		version = 2
		root = "$dir/containerd-root"
		state = "$dir/containerd-state"
		# opt makes a directory outside of root and state; dockerd does not use cri.
		disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.grpc.v1.cri"]
		[grpc]
		address = "$dir/containerd.sock"
	END
	# Docker puts these arguments before its own, which repeat them.
	cat >"$dir/daemon.json" <<-END
		{
			"runtimes": {
				"under-test": {"path": "$runtime"},
				"with-arguments": {"path": "$runtime", "runtimeArgs": ["--debug", "--log-format", "text", "--log", "/dev/null"]},
				"recorded": {"path": "$dir/bin/runc"},
				"upgraded": {"path": "$dir/upgraded"},
				"without-missing-capabilities": {"path": "$dir/without-missing-capabilities"}
			},
			"default-runtime": "under-test",
			"cgroup-parent": "/$token",
			"live-restore": true,
			"containerd": "$dir/containerd.sock",
			"data-root": "$dir/data",
			"exec-root": "$dir/exec",
			"pidfile": "$dir/docker.pid",
			"hosts": ["$DOCKER_HOST"]
		}
	END
	# A runtime that writes down how it is called; the first runc on the PATH of both daemons.
	write_program bin/runc <<-END
		#!/bin/sh
		echo "\$*" >>$dir/recorded
		exec $runtime "\$@"
	END
}

write_program() { cat >"$dir/$1" && chmod 755 "$dir/$1"; } # NAME: from standard input

start_containerd() { # sets containerd to its pid
	PATH=$dir/bin:$PATH containerd --config "$dir/config.toml" >>"$dir/containerd.log" 2>&1 &
	containerd=$!
	wait_until ctr version >/dev/null 2>&1
}

ctr() { timeout -s KILL 10 ctr --address "$dir/containerd.sock" "$@"; }

start_dockerd() { # sets dockerd to its pid
	# BuildKit takes what this variable names or, as Debian's, runc from PATH, whatever daemon.json says.
	DOCKER_BUILDKIT_RUNC_COMMAND=$dir/bin/runc PATH=$dir/bin:$PATH dockerd --config-file "$dir/daemon.json" >>"$dir/dockerd.log" 2>&1 &
	dockerd=$!
	wait_until docker version >/dev/null 2>&1
}

stop_daemons() {
	kill "$dockerd" && wait "$dockerd"
	kill "$containerd" && wait "$containerd"
}

load_image() {
	"$here/busybox-image" --name "$image" "$dir/image.tar" && docker load --input "$dir/image.tar" >/dev/null
}

# ---- containers ----

run() { # [OPTION...] -- COMMAND...: docker run
	local options=()
	while [ "$1" != -- ]; do options+=("$1") && shift; done
	shift
	docker run "${options[@]}" "$image" "$@"
}

execute() { # [OPTION...] -- COMMAND...: docker exec in $id
	local options=()
	while [ "$1" != -- ]; do options+=("$1") && shift; done
	shift
	docker exec "${options[@]}" "$id" "$@"
}

try() { # COMMAND...: sets rc, out, err
	"$@" >"$dir/out" 2>"$dir/err"
	rc=$? out=$(<"$dir/out") err=$(<"$dir/err")
	[[ $err != *"sending signal KILL"* ]] || rc="none in time"
	[ "$rc" != "none in time" ] || [ $((++hangs)) -lt 3 ] || exit 124 # the others will hang too
}

expect() { # NAME STATUS STDOUT [OPTION...] -- COMMAND...: a container from start to end
	try run --rm "${@:4}"
	is "$1" "status $2, output '$3'" "status $rc, output '$out'" "$err"
}

refuses() { # NAME STATUS MESSAGE [OPTION...] -- COMMAND...: a container that does not start, or fails
	try run --rm "${@:4}"
	matches "$1" "^status ($2), .*($3)" "status $rc, $err"
}

executes() { # NAME STATUS STDOUT [OPTION...] -- COMMAND...: in $id
	try execute "${@:4}"
	is "$1" "status $2, output '$3'" "status $rc, output '$out'" "$err"
}

execute_refuses() { # NAME STATUS MESSAGE [OPTION...] -- COMMAND...: in $id
	try execute "${@:4}"
	matches "$1" "^status ($2), .*($3)" "status $rc, $out$err" # Docker 20.10 prints it on stdout
}

succeeds() { # NAME ARGUMENT...: docker does it
	try docker "${@:2}"
	is "$1" "status 0" "status $rc" "$err"
}

detached() { # [OPTION...] -- COMMAND...: a container in the background; sets id
	id=$(run -d "$@" 2>"$dir/err")
}

ready() { # [OPTION...] -- COMMAND...: one in the background that says 'ready'; sets id
	detached "$@" && wait_until logged ready
}

logged() { docker logs "$id" 2>&1 | grep -q "$1"; }
inspect() { docker inspect --format "{{$1}}" "$id"; } # a field of $id
has() { [ "$(inspect "$1" 2>/dev/null)" = "$2" ]; }
pid() { inspect .State.Pid; }
running() { other_processes | grep "[${1:0:1}]${1:1}"; } # COMMAND: on the whole machine of this run
remove() { docker rm --force --volumes "$id" >/dev/null; }

# A file of the cgroup of $id: its name in cgroup v1, in v2.
limit() { find /sys/fs/cgroup \( -path "*/$token/$id/$1" -o -path "*/$token/$id/$2" \) -exec cat {} + ; }
