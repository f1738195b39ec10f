# What the scripts in hack/ share. Sourced, not run.

set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$top"

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# Installs those of the Debian packages named that are missing.
need_packages() {
	local missing=()
	for package in "$@"; do
		dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
	done
	[ ${#missing[@]} -eq 0 ] && return
	command -v apt-get >/dev/null || die "missing, and there is no apt-get to install them: ${missing[*]}"
	[ "$(id -u)" -eq 0 ] || die "missing, and only root can install them: ${missing[*]}"
	say "installing ${missing[*]}"
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# Whether rustup's toolchain has the musl target.
has_rustup_musl() {
	command -v rustc >/dev/null && [ -d "$(rustc --print sysroot)/lib/rustlib/$(uname -m)-unknown-linux-musl" ]
}

# Makes sure that there is a cargo; Debian 12 has a new enough one under another package name.
need_cargo() {
	command -v cargo >/dev/null && return
	need_packages cargo-web rustc-web rustfmt-web rust-web-clippy libstd-rust-web-dev gcc libc6-dev
}
