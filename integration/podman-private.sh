# Private directories, cgroups and configuration for podman and buildah, beyond lib.sh's private namespaces: for
# integration/podman and integration/buildah.

# Calls the function `engine` as pid 1 in a cgroup namespace whose root is a cgroup of this
# run: podman names its cgroups itself, and so they all are below that one.
engine_in_cgroups() {
	local path file
	if [ -z "${FERRUN_IN_CGROUPS-}" ]; then
		while read -r path _; do
			mkdir -p "$path/$token" || return
			for file in cpuset.cpus cpuset.mems; do # empty in a new cgroup, which no process can join then
				[ ! -e "$path/$file" ] || cat "$path/$file" >"$path/$token/$file"
			done
			echo $$ >"$path/$token/cgroup.procs" || return
		done < <(cgroup_hierarchies)
		FERRUN_IN_CGROUPS=1 exec unshare --cgroup "$0" --inside "$runtime" "$subject" "$token"
	fi
	private_directories && private_cgroups && configuration && engine
}

cgroup_hierarchies() { # PATH TYPE OPTIONS: those of /sys/fs/cgroup
	awk '$5 !~ "^/sys/fs/cgroup" { next }
		$(NF - 2) == "cgroup2" { print $5, "cgroup2 rw" }
		$(NF - 2) == "cgroup" {
			gsub(/xattr,|clone_children,|,?release_agent=[^,]*/, "", $NF)
			sub(/name=/, "none,name=", $NF)
			print $5, "cgroup", $NF
		}' /proc/self/mountinfo
}

private_directories() {
	local each
	for each in /run /var/lib /var/tmp /dev/shm; do mount -t tmpfs -o mode=1777 tmpfs "$each" || return; done
	mkdir -p "$dir"/{home,networks,tmp} && chmod 755 /run /var/lib || return
	echo containers:1000000:1000000 >"$dir/subids" # --userns=auto allocates from these
	for each in /etc/subuid /etc/subgid; do mount --bind "$dir/subids" "$each" || return; done
}

# Mounts the cgroup namespace's tree over the host's. podman creates directories beside the
# hierarchies, which must not appear on the host.
private_cgroups() {
	local tree=$dir/cgroup hierarchies=$(cgroup_hierarchies) path type options
	if [[ $hierarchies = "/sys/fs/cgroup cgroup2 "* ]]; then
		mount -t cgroup2 cgroup2 /sys/fs/cgroup && mkdir /sys/fs/cgroup/engine &&
			echo $$ >/sys/fs/cgroup/engine/cgroup.procs # a cgroup with processes cannot enable controllers for children
		return
	fi
	mkdir "$tree" && mount -t tmpfs -o mode=755 tmpfs "$tree" || return
	while read -r path type options; do
		mkdir "$tree/${path##*/}" && mount -t "$type" -o "$options" "$type" "$tree/${path##*/}" || return
	done <<<"$hierarchies"
	find /sys/fs/cgroup -maxdepth 1 -type l -exec cp -P -t "$tree" {} + # cpu -> cpu,cpuacct
	mount --move "$tree" /sys/fs/cgroup && rmdir "$tree"
}

# podman's default limits are higher than those of this shell, which cannot be raised
# without CAP_SYS_RESOURCE.
configuration() {
	cat >"$dir/containers.conf" <<END
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=32768:32768"]
netns = "none"
log_driver = "k8s-file"
[network]
network_backend = "netavark"
network_config_dir = "$dir/networks"
[engine]
runtime = "tested"
cgroup_manager = "cgroupfs"
events_logger = "file"
image_copy_tmp_dir = "$dir/tmp"
runtime_supports_json = ["tested", "upgraded"]
runtime_supports_nocgroup = ["tested"]
[engine.runtimes]
tested = ["$runtime"]
plain = ["$runtime"]
upgraded = ["$dir/upgraded"]
END
	cat >"$dir/storage.conf" <<END
[storage]
driver = "overlay"
graphroot = "$dir/root"
runroot = "$dir/runroot"
END
	export CONTAINERS_CONF=$dir/containers.conf CONTAINERS_STORAGE_CONF=$dir/storage.conf
	export HOME=$dir/home TMPDIR=$dir/tmp
	unset XDG_RUNTIME_DIR NOTIFY_SOCKET
}
