#!/bin/sh
# make demo: one whole session, told step by step, with the system's own ssh, scp and ssh-keygen. Everything is made
# below one temporary directory; at the end nothing is left. IDS=BASE takes another range of numeric ids.
set -eu
build=$(cd "${1:-build}" && pwd)
postern=$build/bin/postern
base=${IDS:-1879048192}
started=$(date +%s)

[ "$(id -u)" = 0 ] || { echo "demo: must be run as root" >&2; exit 1; }
unset SSH_AUTH_SOCK
export LC_ALL=C.UTF-8
passwd_before=$(cksum </etc/passwd)
dir=$(mktemp -d /tmp/postern-demo.XXXXXX)
state=$dir/state
up=
others=

finish() { # ends only what this script started
	trap - EXIT INT TERM
	for pid in $others $up; do kill "$pid" 2>/dev/null || :; done
	[ -z "$up" ] || wait "$up" 2>/dev/null || :
	rm -rf "$dir"
}
trap finish EXIT
trap 'exit 1' INT TERM

if [ -t 1 ]; then bold=$(printf '\033[1m') plain=$(printf '\033[0m'); else bold= plain=; fi
title() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
note() { printf '   %s\n' "$*"; }
shown() { sed 's/\r$//; s/^/   | /'; }
die() {
	echo "demo: $*" >&2
	[ ! -f "$dir/log" ] || sed 's/^/   log: /' "$dir/log" >&2
	exit 1
}
# A command, shown without the options that only the demo needs.
run() {
	printf '   $ %s\n' "$*"
	"$@" 2>&1 | shown
}
p() { "$postern" --state "$state" "$@"; }

# ssh as the system has it; only the key, the port and the known host are ours.
opts() {
	echo "-F /dev/null -p $port -o UserKnownHostsFile=$dir/known_hosts -o StrictHostKeyChecking=yes" \
		"-o IdentitiesOnly=yes -o BatchMode=yes -o ConnectTimeout=10"
}
agent() { # KEY USER [COMMAND...]
	key=$1 user=$2
	shift 2
	# shellcheck disable=SC2046
	ssh $(opts) -i "$dir/$key" "$user@127.0.0.1" "$@"
}
inside() { # as agent(), with the command shown
	printf '   agent$ %s\n' "$3"
	code=0
	agent "$@" >"$dir/out" 2>&1 </dev/null || code=$?
	shown <"$dir/out"
	case $code in 254 | 255) die "that should have worked" ;; esac
}
refused() { # KEY USER PATTERN: must fail, and the log must say why
	if agent "$1" "$2" true >"$dir/out" 2>&1; then die "$1 was let in"; fi
	grep -v '^Warning' "$dir/out" | shown
	why=$(p audit show --class auth.refused --json | sed -n 's/.*"reason":"\(\([^"\\]\|\\.\)*\)".*/\1/p' |
		sed 's/\\"/"/g' | grep -- "$3" | tail -n 1) ||
		die "no record says why $1 was refused"
	[ -n "$why" ] || die "no record says why $1 was refused"
	note "the log says: $why"
}

title "Start: two throwaway tenants, everything below one directory"
mkfifo "$dir/ready"
"$postern" up --state "$state" --listen 127.0.0.1:0 --ids "$base" >"$dir/ready" 2>"$dir/log" &
up=$!
read -r ready <"$dir/ready" || die "it did not start"
port=${ready##*:}
note "$ready"
p host-key | sed "s/^/[127.0.0.1]:$port /" >"$dir/known_hosts"

title "An agent's key, and a certificate: one role, five minutes"
ssh-keygen -q -t ed25519 -N '' -C agent-key -f "$dir/agent"
run ssh-keygen -q -s "$state/ca/demo" -I alice@demo.example -n agent -V +5m "$dir/agent.pub"
ssh-keygen -L -f "$dir/agent-cert.pub" | sed -n '/Key ID\|Valid\|Principals/,/Critical/p' | sed '/Critical/d' | shown

title "A command, a script on standard input, an interactive shell"
inside agent agent 'id; hostname; pwd'
printf '   agent$ sh -s  (with a script on standard input)\n'
# shellcheck disable=SC2016
printf 'echo "hello from $(whoami)"\npython3 -c "print(6 * 7)"\nexit 3\n' | agent agent agent 'sh -s' >"$dir/out" 2>&1 &&
	die "the exit status was lost"
shown <"$dir/out"
note "exit status 3 came back"
printf '   agent$ (a terminal: ssh -tt)\n'
# shellcheck disable=SC2016
printf 'tty; echo "shell $0, terminal $TERM"; exit\n' |
	TERM=dumb agent agent agent -tt 2>/dev/null | tr -d '\r' | grep -E '^/dev/pts|^shell /' >"$dir/out" || :
shown <"$dir/out"
grep -q '^/dev/pts/' "$dir/out" || die "there was no terminal"

title "Files: scp in and out, over one connection, so one sandbox"
# shellcheck disable=SC2046
ssh $(opts) -i "$dir/agent" -M -S "$dir/master" -N agent@127.0.0.1 </dev/null 2>/dev/null &
others=$!
for _ in 1 2 3 4 5 6 7 8 9 10; do [ -S "$dir/master" ] && break; sleep 0.2; done
seq 1 1000 >"$dir/numbers"
scp -q -F /dev/null -P "$port" -o ControlPath="$dir/master" "$dir/numbers" agent@127.0.0.1:numbers
inside agent agent 'ls numbers 2>&1 || echo "(another connection is another sandbox: nothing there)"'
agent agent agent -S "$dir/master" 'sort -rn numbers >sorted && wc -l sorted' | shown
scp -q -F /dev/null -P "$port" -o ControlPath="$dir/master" agent@127.0.0.1:sorted "$dir/sorted"
[ "$(head -n 1 "$dir/sorted")" = 1000 ] || die "scp brought back something else"
note "1000 numbers went in, came back sorted"

title "What the sandbox sees: no host process, no host file, no network, no other tenant"
ssh-keygen -q -t ed25519 -N '' -C other-key -f "$dir/other"
p cert issue --ca "$state/ca/other" --key "$dir/other.pub" --role agent --id bob@other.example >/dev/null
agent other agent 'echo "secret of the other tenant" >/tmp/secret; exec sleep 50' </dev/null >/dev/null 2>&1 &
others="$others $!"
echo "secret of the host" >"$dir/host-secret"
sleep 0.5
note "(meanwhile tenant other runs a session with a file /tmp/secret; this host has $(ps -e | wc -l) processes)"
inside agent agent 'ps -e -o pid,user,args'
inside agent agent "cat $dir/host-secret /etc/shadow /root/.profile; ls -A /home /tmp; cat /tmp/secret"
inside agent agent 'sed -n "s/:.*//p" /proc/net/dev'
inside agent agent "for a in 127.0.0.1/$port 192.0.2.1/80; do bash -c \"exec 3<>/dev/tcp/\$a\" 2>&1 | tail -n 1; done"
inside agent agent 'grep -E "^(CapEff|CapBnd|NoNewPrivs|Seccomp):" /proc/self/status; unshare -U true 2>&1; mount -t tmpfs x /mnt 2>&1'

title "Who is refused, and why"
note "an expired certificate:"
cp "$dir/agent" "$dir/expired"; cp "$dir/agent.pub" "$dir/expired.pub"
ssh-keygen -q -s "$state/ca/demo" -I alice@demo.example -n agent -V -10m:-5m "$dir/expired.pub"
refused expired agent 'expired'
note "a certificate of a CA that is no tenant's:"
ssh-keygen -q -t ed25519 -N '' -C nobody -f "$dir/nobody-ca"
cp "$dir/agent" "$dir/unknown"; cp "$dir/agent.pub" "$dir/unknown.pub"
ssh-keygen -q -s "$dir/nobody-ca" -I mallory -n agent -V +5m "$dir/unknown.pub"
refused unknown agent 'unknown CA'
note "tenant demo gets a role of its own, builder; tenant other's CA signs a certificate for it:"
cat >>"$state/etc/tenants/demo.yaml" <<'YAML'
  builder:
    template: default
    allow: [exec]
YAML
p reload >/dev/null
cp "$dir/other" "$dir/foreign"; cp "$dir/other.pub" "$dir/foreign.pub"
ssh-keygen -q -s "$state/ca/other" -I bob@other.example -n builder -V +5m "$dir/foreign.pub"
refused foreign builder 'role'
note "a plain key:"
ssh-keygen -q -t ed25519 -N '' -C plain -f "$dir/plain"
refused plain agent 'plain key'

title "A credential, lent for one session and dead after it"
p cert issue --ca "$state/ca/demo" --key "$dir/agent.pub" --role agent --id alice@demo.example \
	--credential jwt:https://api.example.com --lifetime 4s --out "$dir/agent-cert.pub" >/dev/null
agent agent agent 'postern-cred list >&2; postern-cred get jwt https://api.example.com' </dev/null 2>"$dir/err" >"$dir/token"
shown <"$dir/err"
claims=$(cut -d. -f2 "$dir/token" | python3 -c 'import base64,json,sys
t = sys.stdin.read().strip()
c = json.loads(base64.urlsafe_b64decode(t + "=" * (-len(t) % 4)))
print(c["exp"], json.dumps({k: c[k] for k in ("iss", "aud", "sub") if k in c}))')
note "the token says ${claims#* }"
while [ "$(date +%s)" -le "${claims%% *}" ]; do sleep 0.3; done
note "its session has ended, and so has the token: exp ${claims%% *}, now $(date +%s)"
p audit show --class lease. --limit 2 | cut -c1-170 | shown

title "Operators: sessions, and one of them ended"
p session list | shown
id=$(p session list --tenant other --json | sed -n 's/.*"id": "\([^"]*\)".*/\1/p' | head -n 1)
run "$postern" --state "$state" session kill "$id" --reason "the demo is over"

title "The log: every decision, chained and sealed; one log for each tenant"
note "the keys that an auditor keeps, and what they prove now:"
p audit keys >"$dir/keys"
p audit verify --keys "$dir/keys" | shown
note "stopped, from its files:"
kill -TERM "$up"
status=0
wait "$up" || status=$?
up=
[ "$status" = 0 ] || die "it ended with status $status"
p audit verify --log demo --keys "$dir/keys" | shown
note "now one byte of one stored record is changed on the disk:"
# A file of LMDB keeps old copies of pages; the byte that counts is the one whose change is noticed.
broken=
for at in $(grep -abo 'id; hostname; pwd' "$state/core/data.mdb" | cut -d: -f1 | sort -rn); do
	printf 'I' | dd of="$state/core/data.mdb" bs=1 seek="$at" conv=notrunc 2>/dev/null
	p audit verify --log demo --keys "$dir/keys" >"$dir/out" 2>&1 || broken=$?
	[ "$broken" != 4 ] || break
	printf 'i' | dd of="$state/core/data.mdb" bs=1 seek="$at" conv=notrunc 2>/dev/null
done
shown <"$dir/out"
[ "$broken" = 4 ] || die "a changed byte was not noticed"
note "exit status 4"

title "Nothing is left"
for pid in $others; do kill "$pid" 2>/dev/null || :; wait "$pid" 2>/dev/null || :; done
others=
left=$(awk -v first="$base" -v last=$((base + 33554431)) \
	'/^Uid:/ && $2 >= first && $2 <= last { print FILENAME }' /proc/[0-9]*/status 2>/dev/null || :)
[ -z "$left" ] || die "processes are left: $left"
! grep -F "$dir" /proc/self/mountinfo || die "mounts are left"
instance=up-$(printf %s "$state" | sha256sum | cut -c1-8)
left=$(find /sys/fs/cgroup -type d -name "*$instance*" 2>/dev/null || :)
[ -z "$left" ] || die "cgroups are left: $left"
[ "$passwd_before" = "$(cksum </etc/passwd)" ] || die "/etc/passwd has changed"
finish
[ ! -e "$dir" ] || die "files are left in $dir"
note "no process, no mount, no cgroup, no user, no file. $(($(date +%s) - started)) seconds."
