#!/bin/sh
# `postern up` and what the command answers with: exit statuses, refusals, the log's proofs on line, off line and
# exported, and a supervisor that is killed.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
build=${BUILD:-$root/build}
case $build in /*) ;; *) build=$root/$build ;; esac
postern=$build/bin/postern
tmp=$(mktemp -d /tmp/postern-up-test.XXXXXX) || exit 1
# the locks of tests/support/postern.py: a range of ids that no other test on this machine has now
locks=${TMPDIR:-/tmp}/postern-test-ids
mkdir -p -m 700 "$locks"
for i in 47 46 45 44 43 42 41 40 39 38 none; do
	[ $i != none ] || { echo "Bail out! no free range of ids"; exit 1; }
	exec 9>"$locks/$i"
	! flock -n 9 || break
done
base=$((0x70000000 + 1024 * 65536 + i * 64 * 65536))
ids="ids: {base: $base, count: 4194304}"
second=$((base + 65536))
state=$tmp/state
up=
n=0
finish() {
	[ -z "$up" ] || { kill "$up"; wait "$up"; } 2>/dev/null
	rm -rf "$tmp"
}
trap finish EXIT

ok() { # STATUS NAME
	n=$((n + 1))
	if [ "$1" = 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; sed 's/^/# /' "$tmp/out"; fi
}
gives() { # STATUS NAME COMMAND...: the command ends with that status
	want=$1 name=$2
	shift 2
	"$@" >"$tmp/out" 2>&1
	got=$?
	echo "(status $got, wanted $want)" >>"$tmp/out"
	[ "$got" = "$want" ]
	ok $? "$name"
}
p() { "$postern" --state "$state" "$@"; }
start() {
	[ -e "$state/etc/postern.yaml" ] || { mkdir -p "$state/etc" && echo "$ids" >"$state/etc/postern.yaml"; }
	rm -f "$tmp/ready"
	mkfifo "$tmp/ready"
	"$postern" --state "$state" up --listen 127.0.0.1:0 --ids $base >"$tmp/ready" 2>>"$tmp/log" 9>&- &
	up=$!
	ready=
	read -r ready <"$tmp/ready"
}

gives 3 "no daemon is status 3" p status
gives 8 "no log is status 8" p audit verify --chain
gives 2 "up without a state directory is a wrong command line" "$postern" up
gives 1 "up refuses ids that are no multiple of a block" p up --ids 1879048193
rm -rf "$state"
mkdir -m 755 "$tmp/open" && chmod 755 "$tmp"
gives 7 "up refuses anybody but root" setpriv --reuid 65534 --regid 65534 --clear-groups \
	"$postern" --state "$tmp/open" up
gives 1 "up refuses a range in which a process runs" env "POSTERN=$postern" "STATE=$tmp/taken" "FIRST=$base" "IDS=$ids" "SECOND=$second" sh -c '
	setpriv --reuid "$SECOND" --regid "$SECOND" --clear-groups sleep 30 &
	squatter=$!
	for _ in 1 2 3 4 5 6 7 8 9 10; do grep -q "^Uid:.$SECOND" /proc/$squatter/status && break; sleep 0.1; done
	mkdir -p "$STATE/etc" && echo "$IDS" >"$STATE/etc/postern.yaml"
	"$POSTERN" --state "$STATE" up --ids "$FIRST" --listen 127.0.0.1:0
	status=$?
	kill $squatter
	wait $squatter 2>/dev/null # else the next one may still see it
	exit $status'

start
case $ready in "ready 127.0.0.1:"[1-9]*) true ;; *) cp "$tmp/log" "$tmp/out"; false ;; esac
ok $? "up prints ready and the port it got"
gives 1 "a second up on the same state is refused" p up --listen 127.0.0.1:0
gives 1 "up refuses other ids than the ones in its postern.yaml" \
	sh -c "cp -r '$state/etc' '$tmp/etc2' && mkdir '$tmp/s2' && mv '$tmp/etc2' '$tmp/s2/etc' &&
	'$postern' --state '$tmp/s2' up --ids 1879048192"
gives 0 "the two tenants' CA keys sign by ssh-keygen alone" sh -c "
	ssh-keygen -q -t ed25519 -N '' -f '$tmp/k' &&
	ssh-keygen -q -s '$state/ca/demo' -I x -n agent -V +5m '$tmp/k.pub' && ssh-keygen -L -f '$tmp/k-cert.pub' &&
	ssh-keygen -q -s '$state/ca/other' -I x -n agent -V +5m '$tmp/k.pub'"
gives 0 "status answers" p status
gives 0 "check is content" p check
gives 6 "a session that is not there is status 6" p session show nobody
gives 0 "the log is proved on line" p audit verify --chain
gives 0 "and off line beside a running Postern" p audit verify --chain --offline
gives 0 "and as an exported file" sh -c "
	'$postern' --state '$state' audit export '$tmp/log.jsonl' && '$postern' audit verify --chain --file '$tmp/log.jsonl'"
gives 1 "an export never replaces a file" p audit export "$tmp/log.jsonl"
sed '2s/"v":2/"v": 2/' "$tmp/log.jsonl" >"$tmp/changed.jsonl"
gives 4 "a changed record is status 4" "$postern" audit verify --chain --file "$tmp/changed.jsonl"
sed 2d "$tmp/log.jsonl" >"$tmp/missing.jsonl"
gives 4 "a missing record is status 4" "$postern" audit verify --chain --file "$tmp/missing.jsonl"
: >"$tmp/empty.jsonl"
gives 8 "an empty log is status 8" "$postern" audit verify --chain --file "$tmp/empty.jsonl"

cp "$state/etc/tenants/demo.yaml" "$tmp/demo.yaml"
echo "nonsense: 1" >>"$state/etc/tenants/demo.yaml"
gives 5 "check says that the configuration is wrong" p check
gives 5 "a reload of it is refused" p reload
cp "$tmp/demo.yaml" "$state/etc/tenants/demo.yaml"
gives 0 "and of the mended one accepted" p reload

kill -9 "$up"
wait "$up" 2>/dev/null
start
case $ready in "ready "*) true ;; *) cp "$tmp/log" "$tmp/out"; false ;; esac
ok $? "after a supervisor that was killed the next one starts"
kill -TERM "$up"
wait "$up"
status=$?
up=
cp "$tmp/log" "$tmp/out"
[ "$status" = 0 ] && [ -z "$(ls "$state/run")" ]
ok $? "SIGTERM is a clean end with status 0"
gives 0 "the log is proved after the end" p audit verify --chain
# no page of it is what it was
head -c 8192 /dev/zero | dd of="$state/core/data.mdb" conv=notrunc status=none
gives 9 "a store that cannot be read is status 9" p audit verify --chain
echo "1..$n"
