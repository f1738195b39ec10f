# The --help of the scripts in hack/ and integration/, which is the comment they begin with, and errors about arguments.
# Sourced, before a script changes its directory.

script=$(realpath "$0")

case ${1-} in
-h | --help)
	sed -n '1d; /^#/!q; s/^# \{0,1\}//p' "$script"
	exit
	;;
esac

bad_usage() { # MESSAGE...
	echo "error: $* ($0 --help prints the usage)" >&2
	exit "${usage_status:-2}"
}

unknown() { # ARGUMENT
	case $1 in
	-*) bad_usage "$1: not an option here" ;;
	*) bad_usage "$1: no argument is expected here" ;;
	esac
}

no_arguments() { [ $# -eq 0 ] || unknown "$1"; } # ARGUMENT...

no_options() { # ARGUMENT...
	local each
	for each; do [[ $each != -* ]] || unknown "$each"; done
}

whole_number() { # OPTION VALUE
	[[ ${2-} =~ ^[1-9][0-9]*$ ]] || bad_usage "$1: a whole number, at least 1"
}
