# What hack/guest/build and hack/guest/kernel share. Sourced, not run; they set `work` and `recipe`.

# The kernel as the emulator starts it at once, unpacked: to do that in the guest takes seconds.
kernel() { # VMLINUZ VMLINUX
	word() { od -A n -t "u$3" -j "$2" -N "$3" "$1" | tr -d ' '; }
	local setup offset length unpack=(lz4 -dcq)
	setup=$(word "$1" 0x1f1 1) offset=$(word "$1" 0x248 4) length=$(word "$1" 0x24c 4)
	offset=$(((setup + 1) * 512 + offset))
	[ "$(word "$1" $offset 4)" != $((0xfd2fb528)) ] || unpack=(zstd -dcq)
	# The last word of what is packed is its size.
	dd if="$1" bs=64K iflag=skip_bytes,count_bytes skip=$offset count=$((length - 4)) status=none | "${unpack[@]}" >"$2"
}

# An initramfs with the few modules that lead to the root file system, in the order of `modules`.
initramfs() { # ROOT MODULES FILE: ROOT has busybox, MODULES has usr/lib/modules with its indices
	local version module tree=$work/initramfs
	version=$(ls "$2/usr/lib/modules")
	mkdir -p "$tree"/{bin,dev,proc,sys,root,modules}
	: >"$tree/modules/order"
	cp "$1/bin/busybox" "$tree/bin/"
	cp "$recipe/init" "$tree/init"
	modprobe -d "$2/usr" -S "$version" --show-depends -a virtio_pci virtio_blk virtio_console |
		awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$work/insmod"
	while read -r module; do
		cp "$module" "$tree/modules/"
		module=${module##*/}
		[ "${module%.xz}" = "$module" ] || xz -d "$tree/modules/$module"
		echo "/modules/${module%.xz}" >>"$tree/modules/order"
	done <"$work/insmod"
	(cd "$tree" && find . | cpio --quiet -o -H newc) >"$3"
}
