# Shared by the scripts of the lab: paths, locks, messages. Source it; it runs nothing.
# shellcheck shell=bash
PROJECT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# all state; the layers of the hosts are on a tmpfs at $LAB/t (the machine's own / is their lower layer, and
# overlayfs refuses layers that overlap)
LAB=${LAB:-$PROJECT/.lab}
WORLD=$LAB/world
GOLDS=$LAB/t/golds
HOSTS=$LAB/t/hosts
BASE=${BASE:-/}
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
# the machine's python3 may be a shim of a version manager; dnf's modules are Debian's
PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin:$(dirname "$(command -v go || echo /usr/local/go/bin/go)")
export PATH

say() { echo "lab: $*" >&2; }
die() { say "$@"; exit 1; }
need_root() { [ "$(id -u)" = 0 ] || die "this needs root: $1"; }
now() { date +%s.%N; }
took() { awk -v a="$1" -v b="$(now)" 'BEGIN{printf "%.1f s", b-a}'; }

# locked NAME CMD...: only one process of this lab at a time does it
locked() {
  mkdir -p "$LAB"
  local f=$LAB/$1.lock; shift
  ( flock -w 900 9 || die "cannot get the lock $f within 15 minutes"; "$@" 9>&- ) 9>"$f"
}

# tools the lab uses, and the Debian packages that bring them
TOOLS="rpm:rpm rpmbuild:rpm rpmsign:rpm dnf:dnf createrepo_c:createrepo-c modifyrepo_c:createrepo-c gpg:gnupg gpgconf:gnupg
 gpg-agent:gpg-agent db5.3_load:db5.3-util sqlite3:sqlite3 zstd:zstd cpio:cpio xz:xz-utils lz4:lz4 lzop:lzop bzip2:bzip2 flock:util-linux unshare:util-linux setpriv:util-linux
 curl:curl python3:python3 time:time ps:procps rpmlint:rpmlint mandoc:mandoc logrotate:logrotate cryptsetup:cryptsetup-bin luksmeta:luksmeta
 grub-script-check:grub-common gcc:gcc readelf:binutils abidiff:abigail-tools python3-config:python3-dev"
missing_tools() { # prints the Debian packages whose tools are not there
  local t
  for t in $TOOLS; do [ -n "$(type -P "${t%%:*}")" ] || echo "${t#*:}"; done | sort -u | tr '\n' ' '
}
# what only Debian packages and no command tells
missing_extra() { /usr/bin/python3 -c 'import dnf' 2>/dev/null || echo "python3-dnf "; [ -e /usr/lib/python3/dist-packages/dnf-plugins/config_manager.py ] || echo "dnf-plugins-core "; }

server_url() { echo "http://127.0.0.1:$(cat "$LAB/port" 2>/dev/null || echo 18080)"; }

# lab_catalog WORLD: catalogue entries for the worlds' signing keys. The AlmaLinux one is left out: hosts name it in extra_keys.
lab_catalog() {
  local f n owner kind fp ids
  for f in "$1"/keys/*.asc; do
    n=$(basename "$f" .asc)
    case $n in
      alma-*|local) continue ;;
      centos) owner=centos kind=distro ;;
      redhat) owner=rhel kind=distro ;;
      rocky-*) owner=rocky kind=distro ;;
      oracle-*) owner=oracle kind=distro ;;
      epel-*) owner=epel kind=third-party ;;
      *) owner=lab-$n kind=third-party ;;
    esac
    fp=$(gpg --batch --quiet --show-keys --with-colons "$f" | awk -F: '$1=="fpr"{print $10; exit}')
    ids=$(gpg --batch --quiet --show-keys --with-colons "$f" | awk -F: '($1=="pub"||$1=="sub") && $12 ~ /s/ {printf "%s ", tolower($5)}')
    printf '[key %s]\nowner = %s\nkind = %s\nmajors = *\nids = %s\nuid = lab\n\n' "$fp" "$owner" "$kind" "$ids"
  done
}
