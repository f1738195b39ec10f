# The checks of integration/podman on stats, events and restarts, pods, Kubernetes' YAML,
# sd_notify, builds, and an upgrade of the runtime. Written with the functions of
# podman-checks.sh.

check_observe() {
	local since=$(date +%s)
	sleeper --memory 64m
	podman exec "$id" true
	matches "stats" "^$id [0-9.]+[kM]?B / 67.11MB 1$" "$(podman stats --no-stream --format '{{.Name}} {{.MemUsage}} {{.PIDs}}' "$id" 2>&1)"
	matches "top" "root +1 .*sleep 1000" "$(podman top "$id" user pid args 2>&1 | tail -n 1)"
	podman pause "$id" >/dev/null && podman unpause "$id" >/dev/null
	remove
	is "events" "create init start exec exec_died pause unpause died remove" \
		"$(podman events --stream=false --since "$since" --filter "container=$id" --format '{{.Status}}' 2>&1 |
			grep -vx -e cleanup -e attach -e kill | uniq | xargs)" # podman may report an end twice
}

restarted() { [ "$(of .RestartCount)" = "$1" ]; }

check_restart() {
	start -d --restart on-failure:2 -- sh -c 'exit 7' >/dev/null
	wait_until restarted 2 && wait_until is_so .State.Status exited
	is "restart policy: on-failure" "2 exited 7" "$(of .RestartCount) $(status) $(of .State.ExitCode)"
	remove
	sleeper --restart always
	kill -KILL "$(of .State.Pid)" && wait_until restarted 1 && wait_until is_so .State.Status running
	is "restart policy: always, killed from outside" "1 running" "$(of .RestartCount) $(status)"
	podman stop -t 0 "$id" >/dev/null 2>&1
	is "restart policy: not after stop" exited "$(status)"
	remove
}

check_health() {
	sleeper --health-cmd 'test -e /healthy' --health-interval disable --health-retries 1
	fails "healthcheck: unhealthy" 1 "" healthcheck run "$id"
	podman exec "$id" touch /healthy
	does "healthcheck: healthy" 0 "" healthcheck run "$id"
	is "healthcheck: in inspect" healthy "$(of .State.Health.Status)"
	remove
}

check_pods() {
	podman pod create --name pod --hostname podhost --share net,ipc,uts,pid >/dev/null 2>"$dir/err"
	is "pod: created" 0 $? "$(<"$dir/err")"
	start -d --pod pod -- sh -c 'echo content >/dev/shm/file; exec sleep 1000' >/dev/null 2>"$dir/err"
	local first=$id namespaces='for n in net ipc uts pid; do readlink /proc/self/ns/$n; done'
	matches "pod: in the pod's cgroup" ":/libpod_parent/[0-9a-f]{64}/libpod-" "$(cat "/proc/$(of .State.Pid)/cgroup" 2>&1)" "$(<"$dir/err")"
	expect "pod: shares the namespaces" 0 "$(podman exec "$first" sh -c "$namespaces")" --pod pod -- sh -c "$namespaces"
	expect "pod: shares the hostname and /dev/shm" 0 "podhost content" --pod pod -- sh -c 'echo $(hostname) $(cat /dev/shm/file)'
	expect "pod: shares pids, pid 1 is the pod's" 0 "catatonit sleep" --pod pod -- sh -c 'echo $(cat /proc/[0-9]*/comm | grep -e catatonit -e sleep)'
	podman pod pause pod >/dev/null
	is "pod: pause" "paused" "$(status "$first")"
	podman pod unpause pod >/dev/null
	is "pod: unpause" "running" "$(status "$first")"
	podman pod stop -t 0 pod >/dev/null 2>&1
	is "pod: stop" "exited 137" "$(status "$first") $(of .State.ExitCode "$first")"
	podman pod start pod >/dev/null
	is "pod: start" "running" "$(status "$first")"
	podman pod rm -f -t 0 pod >/dev/null 2>"$dir/err"
	is "pod: removed" "0 " "$? $(podman ps -aq)" "$(<"$dir/err")"
}

check_kube() {
	cat >"$dir/pod.yaml" <<END
apiVersion: v1
kind: Pod
metadata: { name: kube }
spec:
  restartPolicy: Never
  hostname: kubehost
  volumes: [{ name: shared, emptyDir: {} }]
  initContainers:
  - { name: init, image: "$image", command: [sh, -c, "echo from init >/shared/init"], volumeMounts: [{ name: shared, mountPath: /shared }] }
  containers:
  - name: server
    image: $image
    command: [sh, -c, "nc -l -p 8080 -e cat /shared/init; exec sleep 1000"]
    resources: { limits: { memory: 64Mi } }
    volumeMounts: [{ name: shared, mountPath: /shared }]
  - name: client
    image: $image
    command: [sh, -c]
    args: ['until nc -w 5 127.0.0.1 8080 2>/dev/null; do sleep 0.1; done; id -u; echo \$WORD; hostname; exit 5']
    env: [{ name: WORD, value: a word }]
    securityContext: { runAsUser: 1000, allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: [ALL] } }
END
	podman kube play "$dir/pod.yaml" >"$dir/out" 2>&1
	is "kube play: status" 0 $? "$(<"$dir/out")"
	wait_until is_so .State.Status exited kube-client
	id=kube-client
	wait_until is_so .State.Status exited
	is "kube play: two containers and a volume of an init container" "from init 1000 a word kubehost" "$(podman logs "$id" 2>&1 | xargs)"
	is "kube play: status of a container" 5 "$(of .State.ExitCode)"
	id=kube-server
	is "kube play: limit" 67108864 "$(cgroup_file memory.limit_in_bytes || cgroup_file memory.max)"
	podman generate kube kube >"$dir/generated.yaml" 2>"$dir/err"
	is "generate kube: both containers" "kube-server kube-client" \
		"$(grep -o -w -e 'name: .*server' -e 'name: .*client' "$dir/generated.yaml" | sed 's/name: //; s/^\(kube-\)*/kube-/' | sort -ru | xargs)" "$(<"$dir/err")"
	podman kube down "$dir/pod.yaml" >"$dir/out" 2>&1
	is "kube down" "0 " "$? $(podman ps -aq)" "$(<"$dir/out")"
	podman volume prune -f >/dev/null
}

# Prints each datagram that a service manager's socket receives.
listen() { # SOCKET
	exec python3 -u -c 'import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
while True:
    print(s.recv(4096).decode().replace("\n", " "))' "$1"
}

check_notify() {
	listen "$dir/notify" >"$dir/notified" &
	local listener=$! python='import os, socket, time
print("ready")
while not os.path.exists("/go"): time.sleep(0.05)
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(os.environ["NOTIFY_SOCKET"])
s.send(b"READY=1")
time.sleep(1000)'
	wait_until test -S "$dir/notify"
	# The container runs the host's python, since busybox cannot send to a Unix socket.
	local machine=() each
	for each in /usr /lib /lib64; do [ ! -d $each ] || machine+=(-v "$each:$each:ro"); done
	NOTIFY_SOCKET=$dir/notify sleeper --sdnotify ignore
	remove
	is "sdnotify: ignore" "" "$(<"$dir/notified")"
	NOTIFY_SOCKET=$dir/notify sleeper --sdnotify conmon
	wait_until grep -q READY=1 "$dir/notified"
	matches "sdnotify: conmon" "MAINPID=[0-9]+.*READY=1" "$(tr '\n' ' ' <"$dir/notified")"
	remove
	: >"$dir/notified"
	rm -f "$dir/log"
	NOTIFY_SOCKET=$dir/notify start -d --log-opt "path=$dir/log" --sdnotify container "${machine[@]}" -- \
		/usr/bin/python3 -u -c "$python" >"$dir/out" 2>"$dir/err" &
	id=c$((++ids)) # counted here too: in the background, start cannot
	wait_until grep -qs ready "$dir/log"
	is "sdnotify: container: not ready before READY=1" "" "$(grep READY "$dir/notified")" "$(<"$dir/err")"
	touch "/proc/$(of .State.Pid)/root/go"
	wait_until grep -q READY=1 "$dir/notified"
	wait $!
	matches "sdnotify: container" "^0 .*READY=1" "$? $(tr '\n\0' '  ' <"$dir/notified")" "$(<"$dir/err")"
	remove
	kill $listener && wait $listener
	rm "$dir/notify"
}

check_runtime_flags() {
	local flags=(--runtime-flag log-format=json --runtime-flag debug --runtime-flag log-format=json --runtime-flag debug)
	does "runtime flags: repeated" 0 x "${flags[@]}" run --rm "$image" echo x
	fails "runtime flags: repeated: missing from PATH is 127" 127 'executable file not found in \$PATH' "${flags[@]}" run --rm "$image" no-such-program
	local name=plain
	does "runtime flags: repeated, plain" 0 x "${flags[@]}" run --rm "$image" echo x
}

check_build() {
	local context=$dir/context patience=100
	mkdir -p "$context" && echo context >"$context/file" && echo hidden >"$dir/secret"
	cat >"$context/Containerfile" <<END
FROM $image AS first
RUN echo built >/built && id -u >/who
RUN --mount=type=cache,target=/cache echo cached >/cache/file
RUN --mount=type=cache,target=/cache cat /cache/file >/from-cache
RUN --mount=type=tmpfs,target=/scratch stat -f -c %T /scratch >/from-tmpfs
RUN --mount=type=bind,source=file,target=/bound cat /bound >/from-bind
RUN --mount=type=secret,id=s1 cat /run/secrets/s1 >/from-secret
FROM $image
COPY --from=first /built /who /from-* /
USER alice
WORKDIR /home/alice
ENV WORD=environment
RUN id -u >user && pwd >directory && echo \$WORD >word
CMD ["sh", "-c", "cat /built /who /from-bind /from-cache /from-secret /from-tmpfs user directory word"]
END
	podman build -q --no-cache --network none --secret "id=s1,src=$dir/secret" -t built "$context" >"$dir/out" 2>"$dir/err"
	is "build: status" 0 $? "$(<"$dir/err")"
	does "build: what it made" 0 "built 0 context cached hidden tmpfs 1000 /home/alice environment" run --rm built \
		sh -c 'echo $(cat /built /who /from-bind /from-cache /from-secret /from-tmpfs user directory word)'
	does "build: nothing of the mounts is left in it" 0 "" run --rm built sh -c 'echo $(ls /run/secrets /cache /scratch /bound 2>/dev/null | grep -v :)'
	printf 'FROM %s\nRUN exit 9\n' "$image" >"$context/Containerfile"
	fails "build: RUN that fails" "[1-9][0-9]*" "exit status 9" build -q --network none "$context"
	printf 'FROM %s\nRUN ["no-such-program"]\n' "$image" >"$context/Containerfile"
	fails "build: RUN of a missing program" "[1-9][0-9]*" "executable file not found in .PATH" build -q --network none "$context"
	podman rmi -f built >/dev/null 2>&1
}

check_commit() {
	start -- sh -c 'echo changed >/changed' >/dev/null 2>&1
	podman commit -q --change CMD='["cat","/changed"]' "$id" committed >/dev/null 2>"$dir/err"
	does "commit: a container of the image" 0 changed run --rm committed
	remove
	sleeper
	podman exec "$id" sh -c 'echo more >/more'
	podman commit -q "$id" committed >/dev/null 2>"$dir/err"
	does "commit: of a running one" 0 more run --rm committed cat /more
	execs "commit: which goes on" 0 x "$id" echo x
	remove
	podman rmi -f committed >/dev/null 2>&1
}

# podman probes a runtime with these two calls.
check_checkpoint() {
	if "$runtime" checkpoint --help >/dev/null 2>"$dir/err"; then
		is "checkpoint --help: silent" "" "$(<"$dir/err")"
		matches "restore --lsm-mount-context" "(flag needs an argument|requires an argument)" \
			"$("$runtime" restore --lsm-mount-context 2>&1)"
	else
		skip "checkpoint --help (there is no checkpoint)"
	fi
	sleeper
	fails "checkpoint: without criu" 125 "(CRIU|criu|does not support checkpoint)" container checkpoint "$id"
	execs "checkpoint: the container goes on" 0 x "$id" echo x
	remove
}

check_upgrade() {
	cp "$runtime" "$dir/upgraded"
	name=upgraded sleeper
	local old=$(of .State.Pid)
	cp "$runtime" "$dir/newer" && mv "$dir/newer" "$dir/upgraded"
	execs "upgrade: exec" 0 x "$id" echo x
	does "upgrade: pause and unpause" 0 "$id" pause "$id"
	podman unpause "$id" >/dev/null
	podman stop -t 0 "$id" >/dev/null 2>&1
	is "upgrade: stop" "exited 137" "$(status) $(of .State.ExitCode)"
	podman start "$id" >/dev/null
	is "upgrade: start" "running another" "$(status) $([ "$(of .State.Pid)" = "$old" ] || echo another)"
	does "upgrade: rm" 0 "$id" rm -f -t 0 "$id"
}
