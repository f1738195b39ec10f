# The checks of integration/docker of what Docker does beside single containers: builds,
# compose, registries, user namespaces, and daemons and runtimes that are replaced.
# See docker-lib.sh for what they are written with.

build() { # DOCKERFILE OPTION...: sets rc, out, err
	mkdir -p "$dir/context" && echo "from the context" >"$dir/context/file" && cat >"$dir/context/Dockerfile"
	try docker build --force-rm --tag built "$@" "$dir/context"
}

check_build() {
	export DOCKER_BUILDKIT=0
	build <<-END
		FROM $image
		COPY file /copied
		RUN cat /copied >/from-run 
		USER alice
		WORKDIR /home/alice
		RUN id -un >whoami
		HEALTHCHECK --interval=100ms CMD test -s whoami
		CMD cat /from-run whoami
	END
	is "build: classic" 0 "$rc" "$out" "$err"
	is "build: its image" "from the context alice" "$(docker run --rm built | xargs)"
	id=$(docker run -d built sleep 1000)
	wait_until has .State.Health.Status healthy
	is "build: HEALTHCHECK" healthy "$(inspect .State.Health.Status)"
	remove
	build <<-END
		FROM $image
		RUN exit 7
	END
	matches "build: status of a RUN that fails" "^7 .*returned a non-zero code: 7" "$rc $err"
	unset DOCKER_BUILDKIT
	docker rmi built >/dev/null
}

check_build_kit() {
	export DOCKER_BUILDKIT=1
	: >"$dir/recorded"
	echo secret >"$dir/secret"
	build --progress plain --secret "id=word,src=$dir/secret" <<-END
		FROM $image
		RUN echo 1 >/from-run
		RUN --mount=type=cache,target=/cache echo cached >/cache/file
		RUN --mount=type=cache,target=/cache cp /cache/file /from-cache
		RUN --mount=type=tmpfs,target=/scratch stat -f -c %T /scratch >/from-tmpfs
		RUN --mount=type=bind,target=/context cp /context/file /from-bind
		RUN --mount=type=secret,id=word cp /run/secrets/word /from-secret
		USER alice
		RUN id -un >/tmp/from-user
	END
	is "buildkit: RUN" 0 "$rc" "$(tail -n 6 "$dir/err")"
	is "buildkit: mounts of cache, tmpfs, bind and secret, user" "1 cached tmpfs from the context secret alice" \
		"$(docker run --rm --user 0 built sh -c 'cat /from-run /from-cache /from-tmpfs /from-bind /from-secret /tmp/from-user' | xargs)"
	matches "buildkit: called the runtime" "run --bundle [^ ]+" "$(<"$dir/recorded")"
	build --progress plain <<-END
		FROM $image
		RUN exit 7
	END
	matches "buildkit: status of a RUN that fails" "^1 .*exit code: 7" "$rc $(tail -n 3 "$dir/err")"
	build --progress plain <<-END
		FROM $image
		RUN ["/no/such/program"]
	END
	matches "buildkit: a program that is missing" "^1 .*no such file or directory" "$rc $(grep -i -e "no such" -e error "$dir/err")"
	printf 'FROM %s\nRUN echo waiting; sleep 996\n' "$image" >"$dir/context/Dockerfile"
	timeout -s KILL 30 "$docker" build --progress plain --no-cache "$dir/context" >"$dir/out" 2>&1 &
	local client=$!
	wait_until running "sleep 996" >/dev/null
	kill -INT $client && wait $client
	wait_until eval '! running "sleep 996" >/dev/null'
	is "buildkit: nothing stays of a build that is interrupted" "" "$(running "sleep 996")"
	unset DOCKER_BUILDKIT
	docker rmi built >/dev/null
	docker builder prune --force >/dev/null
}

compose() { timeout -v -s KILL 60 docker-compose --project-name project --file "$dir/compose.yml" "$@"; }

check_compose() {
	cat >"$dir/compose.yml" <<-END
		version: "2.4"
		services:
		  server:
		    image: $image
		    command: sh -c 'echo served >/data/index.html; exec httpd -f -h /data'
		    stop_signal: SIGKILL
		    volumes: ["data:/data"]
		    mem_limit: 64m
		    healthcheck: {test: wget -qO- http://localhost/, interval: 100ms}
		  client:
		    image: $image
		    command: sh -c 'wget -qO- http://server/; exit 4'
		    depends_on: {server: {condition: service_healthy}}
		    volumes: ["data:/data:ro"]
		volumes: {data: {}}
	END
	try compose up --no-color --exit-code-from client
	is "compose: two services, status of one" 4 "$rc" "$out" "$err"
	matches "compose: output of a service" "client_1 .*served" "$out"
	compose start server >/dev/null 2>&1
	is "compose: exec" served "$(compose exec -T server cat /data/index.html 2>"$dir/err")" "$(<"$dir/err")"
	try compose down --volumes
	is "compose: down" "0, nothing" "$rc, $(docker ps -aq)$(docker volume ls -q --filter name=project)nothing" "$err"
}

check_registry() {
	cat >"$dir/registry.yml" <<-END
		version: 0.1
		storage: {filesystem: {rootdirectory: $dir/registry}}
		http: {addr: "127.0.0.1:5099"}
	END
	docker-registry serve "$dir/registry.yml" >"$dir/registry.log" 2>&1 &
	local registry=$! name=127.0.0.1:5099/some/image
	wait_until busybox wget -qO- http://127.0.0.1:5099/v2/ >/dev/null 2>&1
	docker tag "$image" "$name"
	succeeds "registry: push" push "$name"
	docker rmi "$name" "$image" >/dev/null
	succeeds "registry: pull" pull "$name"
	image=$name expect "registry: run what was pulled" 0 hello -- echo hello
	docker tag "$name" "$image" && docker rmi "$name" >/dev/null
	kill $registry && wait $registry
}

# A second dockerd, with userns-remap.
check_user_namespace() {
	local daemon DOCKER_HOST=unix://$dir/remapped.sock
	echo remapped:x:2000:2000::/:/bin/false >>/etc/passwd && echo remapped:x:2000: >>/etc/group
	echo remapped:100000:65536 | tee -a /etc/subuid >>/etc/subgid
	cat >"$dir/remapped.json" <<-END
		{
			"userns-remap": "remapped", "bridge": "none",
			"runtimes": {"under-test": {"path": "$runtime"}}, "default-runtime": "under-test", "cgroup-parent": "/$token",
			"containerd": "$dir/containerd.sock", "containerd-namespace": "remapped", "hosts": ["$DOCKER_HOST"],
			"data-root": "$dir/remapped-data", "exec-root": "$dir/remapped-exec", "pidfile": "$dir/remapped.pid"
		}
	END
	# In a network namespace of its own, for it would remove the bridge of the first.
	unshare --net dockerd --config-file "$dir/remapped.json" >"$dir/remapped.log" 2>&1 &
	daemon=$!
	wait_until docker version >/dev/null 2>&1 && docker load --input "$dir/image.tar" >/dev/null
	detached --hostname remapped --tmpfs /tmp --volume data:/home -- sleep 1000
	executes "user namespace: mapped, root inside" 0 "0 100000 65536 0 0" -- sh -c 'echo $(cat /proc/self/uid_map) $(id -u) $(id -g)'
	is "user namespace: owned outside by" "100000 100000" "$(stat -c "%u %g" "/proc/$(pid)")" "$(<"$dir/err")"
	executes "user namespace: files, devices, mounts, hostname" 0 "0 1000 remapped" -- \
		sh -c 'echo x >/new && echo x >/dev/null && echo x >/tmp/new && echo x >/home/new && echo $(stat -c %u /new /home/alice) $(hostname)'
	executes "user namespace: exec of a user" 0 "1000 1000 50" --user alice -- sh -c 'echo $(id -u) $(id -G)'
	succeeds "user namespace: pause" pause "$id"
	succeeds "user namespace: unpause" unpause "$id"
	docker kill "$id" >/dev/null
	is "user namespace: status" 137 "$(docker wait "$id")"
	remove && docker volume rm data >/dev/null
	expect "user namespace: --userns host" 0 "0 0 4294967295" --userns host -- sh -c 'echo $(cat /proc/self/uid_map)'
	refuses "user namespace: status of a failure" 127 "executable file not found" -- no-such-program
	wait_until no_shims
	is "user namespace: nothing stays" "" "$(docker ps -aq)$(find "$dir/remapped-exec/runtime-runc" -mindepth 2)"
	kill $daemon && wait $daemon
}

alive() { kill -0 "$1" 2>/dev/null && echo alive; }

check_live_restore() {
	local handler='trap "exit 5" TERM; echo ready; sleep 1000 & wait' init ended
	ready --volume "$dir:/outside" -- sh -c 'echo ready; until test -e /outside/go; do sleep 0.1; done; exit 6'
	ended=$id
	ready -- sh -c "$handler"
	init=$(pid)
	{ kill -KILL "$dockerd" && wait "$dockerd"; } 2>/dev/null
	touch "$dir/go"
	wait_until eval '! running outside/go >/dev/null'
	is "live-restore: runs on without dockerd" alive "$(alive "$init")"
	rm -f "$dir/docker.pid"
	start_dockerd
	is "live-restore: the same process" "true $init" "$(inspect .State.Running) $(pid)"
	executes "live-restore: exec" 0 hello -- echo hello
	succeeds "live-restore: pause" pause "$id"
	succeeds "live-restore: unpause" unpause "$id"
	succeeds "live-restore: update" update --pids-limit 20 "$id"
	succeeds "live-restore: stop" stop "$id"
	is "live-restore: status" 5 "$(inspect .State.ExitCode)"
	succeeds "live-restore: start again" start "$id"
	remove
	id=$ended
	is "live-restore: one that ended meanwhile" "exited 6" "$(inspect .State.Status) $(inspect .State.ExitCode)"
	remove
}

check_containerd_restart() {
	local init
	ready -- sh -c 'trap "exit 5" TERM; echo ready; sleep 1000 & wait'
	init=$(pid)
	{ kill -KILL "$containerd" && wait "$containerd"; } 2>/dev/null
	is "containerd: a container runs on without it" alive "$(alive "$init")"
	start_containerd
	wait_until execute -- true 2>/dev/null
	executes "containerd: started again, exec" 0 hello -- echo hello
	succeeds "containerd: started again, update" update --pids-limit 20 "$id"
	succeeds "containerd: started again, stop" stop "$id"
	is "containerd: started again, status" 5 "$(inspect .State.ExitCode)"
	remove
	expect "containerd: started again, run" 0 hello -- echo hello
}

# The runtime's program is replaced while its containers run.
check_upgrade() {
	local before=$runtime first second
	if "$runtime" --version | grep -q ^ferrun; then before=${FERRUN_BEFORE:-$runtime}; fi
	cp "$before" "$dir/upgraded"
	ready --runtime upgraded --memory 128m --memory-swap 128m -- sh -c 'trap "exit 5" TERM; echo ready; sleep 1000 & wait'
	first=$id
	execute -- sleep 995 &
	local executed=$!
	wait_until eval 'docker top "$id" | grep -q "sleep 995"'
	detached --runtime upgraded -- sleep 1000
	second=$id
	docker pause "$second" >/dev/null
	cp "$runtime" "$dir/new" && mv -f "$dir/new" "$dir/upgraded"
	id=$first
	executes "upgrade: exec" 0 hello -- echo hello
	succeeds "upgrade: update" update --memory 64m --memory-swap 64m "$id"
	is "upgrade: updated" 67108864 "$(limit memory.limit_in_bytes memory.max)"
	succeeds "upgrade: pause" pause "$id"
	succeeds "upgrade: unpause" unpause "$id"
	matches "upgrade: top" "sleep 995" "$(docker top "$id")"
	succeeds "upgrade: stop" stop "$id"
	is "upgrade: status" 5 "$(inspect .State.ExitCode)"
	wait $executed
	is "upgrade: an exec of before ends with the container" 137 $?
	succeeds "upgrade: start again" start "$id"
	remove
	id=$second
	succeeds "upgrade: unpause what was paused before" unpause "$id"
	succeeds "upgrade: kill" kill "$id"
	is "upgrade: killed" 137 "$(docker wait "$id")"
	succeeds "upgrade: rm" rm "$id"
	is "upgrade: nothing stays" "" "$("$dir/upgraded" --root "$dir/exec/runtime-runc/moby" list -q)"
}

# What is still there when all containers are gone, the daemons still running.
check_leftovers() {
	wait_until no_shims # a shim ends a moment after its container
	docker volume prune --force >/dev/null
	is "left: processes" "" "$(other_processes "$containerd" "$dockerd")"
	is "left: containers" "" "$(docker ps -aq)"
	is "left: cgroups" "" "$(cgroups_of "$token/" | grep -v "/buildkit$")" # BuildKit's own
	is "left: runtime state, sockets, fifos" "" "$(find "$dir/exec" /run/containerd "$dir/containerd-state/io.containerd.runtime.v2.task" \
		-mindepth 2 -maxdepth 3 ! -path "$dir/exec/[!r]*" ! -path "$dir/exec/runtime-*/moby" 2>&1)"
	is "left: runtime state of builds" "" "$(find /run/runc /run/ferrun -mindepth 1 2>/dev/null)"
	is "left: files elsewhere in /run" "" "$(ls /run | grep -vx -e containerd -e docker -e mount -e xtables.lock -e runc -e ferrun -e "$token")"
}

no_shims() { ! other_processes | grep -q containerd-shim; }
