#!/bin/sh
# What `make install` puts where, and that the man pages are in order.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
build=${BUILD:-$root/build}
case $build in /*) ;; *) build=$root/$build ;; esac
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
dest=$tmp/dest
n=0

ok() { # STATUS NAME
	n=$((n + 1))
	if [ "$1" = 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; fi
}

# The programs are there already when the tests run: -o all keeps this test from building.
install() {
	make -C "$root" -s --no-print-directory -o all BUILD="$build" DESTDIR="$dest" PREFIX=/usr install
}

install >"$tmp/log" 2>&1
ok $? "installs into a DESTDIR"
[ -s "$tmp/log" ] && sed 's/^/# /' "$tmp/log"

multiarch=$(gcc -print-multiarch)
missing=
for f in usr/bin/postern \
	usr/libexec/postern/postern-supervisor usr/libexec/postern/postern-core usr/libexec/postern/postern-spawn \
	usr/libexec/postern/postern-signer usr/libexec/postern/postern-gateway usr/libexec/postern/postern-lease \
	usr/libexec/postern/postern-run usr/libexec/postern/postern-init usr/libexec/postern/postern-cred usr/libexec/postern/postern-witness \
	usr/libexec/postern/postern-vm usr/libexec/postern/microvm-image usr/libexec/postern/postern-walk \
	usr/libexec/postern/postern-watch usr/libexec/postern/postern-export; do
	[ -x "$dest/$f" ] || missing="$missing $f"
done
for f in usr/lib/$multiarch/security/pam_postern.so \
	usr/lib/systemd/system/postern.service usr/lib/systemd/system/postern-witness.service usr/lib/sysusers.d/postern.conf usr/lib/tmpfiles.d/postern.conf \
	usr/lib/sysctl.d/60-postern.conf etc/postern/postern.yaml etc/postern/templates/default.yaml \
	etc/postern/tenants/example.yaml.sample etc/pam.d/postern-sshd usr/share/postern/sshd/postern.conf \
	usr/share/man/man1/postern.1 usr/share/man/man1/postern-cred.1 usr/share/man/man5/postern.yaml.5 \
	usr/share/man/man7/postern.7 usr/share/man/man8/postern-supervisor.8 usr/share/man/man8/postern-witness.8 usr/share/man/man8/pam_postern.8; do
	[ -f "$dest/$f" ] || missing="$missing $f"
done
[ -z "$missing" ]
ok $? "every file is where Debian expects it"
[ -n "$missing" ] && echo "# missing:$missing"

setuid=$(find "$dest" -type f -perm /6000)
[ -z "$setuid" ]
ok $? "nothing is setuid or setgid"

echo "# mine" >>"$dest/etc/postern/postern.yaml"
install >/dev/null 2>&1 && grep -q '^# mine' "$dest/etc/postern/postern.yaml" &&
	[ -f "$dest/etc/postern/postern.yaml.new" ]
ok $? "configuration that is there already is kept"

if [ -x "$build/libexec/postern/postern-gateway" ]; then
	rm -f "$dest/etc/postern/postern.yaml.new"
	"$dest/usr/bin/postern" check --json --config "$dest/etc/postern" >"$tmp/check" 2>&1
	[ $? != 5 ] && ! grep -q unknown "$tmp/check"
	ok $? "the installed configuration is good"
else
	ok 0 "the installed configuration is good # SKIP no programs"
fi

# -W warning: long lines are style, and references to pages of other packages cannot be found here
bad=$(find "$dest/usr/share/man" -type f -exec mandoc -T lint -W warning {} + 2>/dev/null)
[ -z "$bad" ]
ok $? "mandoc has nothing to say about the man pages"
[ -n "$bad" ] && printf '%s\n' "$bad" | sed 's/^/# /'

if command -v systemd-analyze >/dev/null; then
	# only what is wrong with the file itself: its programs and other units are not there
	out=$(systemd-analyze verify --man=no "$dest/usr/lib/systemd/system/postern.service" 2>&1 |
		grep -E 'postern.service:[0-9]+:')
	[ -z "$out" ]
	ok $? "systemd understands the unit"
	[ -n "$out" ] && printf '%s\n' "$out" | sed 's/^/# /'
else
	ok 0 "systemd understands the unit # SKIP no systemd-analyze"
fi
echo "1..$n"
