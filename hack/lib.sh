# What the scripts in hack/ share. Sourced, not run.

set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$top/hack/help.sh"
# A relative one is meant from where the caller is.
[ -z "${CARGO_TARGET_DIR-}" ] || CARGO_TARGET_DIR=$(realpath -m "$CARGO_TARGET_DIR")
cd "$top"
# On a terminal cargo shows how far it is.
[ -t 2 ] || export CARGO_TERM_QUIET=${CARGO_TERM_QUIET:-true}

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# Whether a Debian package is installed.
has_package() {
	dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'
}

# Installs those of the Debian packages named that are missing.
need_packages() {
	local missing=()
	for package in "$@"; do
		has_package "$package" || missing+=("$package")
	done
	[ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
}

# Installs the Debian packages of those programs that are missing.
need_programs() { # PROGRAM=PACKAGE...
	local packages=()
	for each; do
		command -v "${each%%=*}" >/dev/null || packages+=("${each#*=}")
	done
	need_packages "${packages[@]}"
}

# Installs Debian packages, or upgrades them.
install_packages() {
	command -v apt-get >/dev/null || die "missing, and there is no apt-get to install them: $*"
	[ "$(id -u)" -eq 0 ] || die "missing, and only root can install them: $*"
	say "installing $*"
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive without_services \
		apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# Runs a command that installs packages, whose services are not started: tests start their own.
without_services() { # COMMAND...
	local policy=/usr/sbin/policy-rc.d status=0
	if [ -e $policy ]; then
		"$@"
		return
	fi
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod +x $policy
	"$@" || status=$?
	rm $policy
	return $status
}

# Installs what the suites in integration/ need.
need_engines() {
	local packages
	mapfile -t packages < <(sed 's/#.*//' "$top/integration/packages" | xargs -n 1)
	need_packages "${packages[@]}"
}

# Whether rustup's toolchain has the musl target.
has_rustup_musl() {
	command -v rustc >/dev/null && [ -d "$(rustc --print sysroot)/lib/rustlib/$(uname -m)-unknown-linux-musl" ]
}

# Debian 12's Rust, under the package names of its new enough one, and what cargo needs to fetch and to link.
debian_rust=(cargo-web rustc-web libstd-rust-web-dev gcc libc6-dev ca-certificates)

# Makes sure that Debian's Rust is there, new enough and with the further packages named.
need_debian_rust() { # PACKAGE...
	local wanted here='' offered
	wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$top/Cargo.toml")
	! has_package rustc-web || here=$(dpkg-query -W -f '${Version}' rustc-web)
	if dpkg --compare-versions "$here" ge "$wanted"; then
		need_packages "${debian_rust[@]}" "$@"
		return
	fi
	[ "$(id -u)" -ne 0 ] || apt-get update -qq
	offered=$(LC_ALL=C apt-cache policy rustc-web | sed -n 's/^ *Candidate: \([^(].*\)$/\1/p')
	dpkg --compare-versions "$offered" ge "$wanted" || die "ferrun needs Rust $wanted or newer; of Debian's rustc-web ${here:-none} is \
installed and ${offered:-none} available: add bookworm-security to apt's sources, or install Rust with rustup"
	install_packages "${debian_rust[@]}" "$@"
}

# Makes sure that there is a cargo; if it is Debian's, also of the further packages named.
need_cargo() { # PACKAGE...
	if command -v cargo >/dev/null && ! has_package cargo-web; then return; fi
	command -v apt-get >/dev/null || die "there is no cargo, and no apt-get to install it: install Rust with rustup"
	need_debian_rust "$@"
}

# A mirror of Debian, as apt names it: FERRUN_MIRROR, or the one that apt uses here for any of Debian's suites, since a
# mirror has all of them.
mirror() {
	local found
	archives() {
		# shellcheck disable=SC2016 # apt's own variables
		apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' |
			sed -n '/cdrom:/d; s/^Debian|Debian|//p' | head -n 1
	}
	found=${FERRUN_MIRROR:-$(archives)}
	# Whose archive it is, apt learns by an update.
	[ -n "$found" ] || found=$(apt-get update -qq; archives)
	[ -n "$found" ] || die "apt has no mirror of Debian here: set FERRUN_MIRROR"
	echo "$found"
}

# A suite of Debian, as a line of apt's sources.
debian_source() { # SUITE
	local url
	url=$(mirror) || return
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $url $1 main"
}

# Sets APT_CONFIG: apt has a suite of Debian as its only source, and in DIRECTORY a state in which no package is installed.
private_apt() { # SUITE DIRECTORY
	local source
	source=$(debian_source "$1") || return
	mkdir -p "$2"/{lists/partial,cache/archives/partial}
	echo "$source" >"$2/sources.list"
	: >"$2/status"
	cat >"$2/apt.conf" <<-END
		Dir::Etc::SourceList "$2/sources.list";
		Dir::Etc::SourceParts "/dev/null";
		Dir::Etc::PreferencesParts "/dev/null";
		Dir::State::Lists "$2/lists";
		Dir::State::Status "$2/status";
		Dir::Cache "$2/cache";
		APT::Architecture "amd64";
		APT::Sandbox::User "root";
		Acquire::Languages "none";
		Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
		Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
		Acquire::Retries "3";
	END
	export APT_CONFIG=$2/apt.conf
	apt-get -qq update
}
