#!/bin/sh
# make up: a throwaway Postern in the foreground until Ctrl-C, with a key and a certificate ready to try. LISTEN=HOST:PORT
# and IDS=BASE choose another address and range of numeric ids.
set -eu
build=$(cd "${1:-build}" && pwd)
postern=$build/bin/postern

[ "$(id -u)" = 0 ] || { echo "up: must be run as root" >&2; exit 1; }
dir=$(mktemp -d /tmp/postern-up.XXXXXX)
up=

finish() {
	trap - EXIT
	trap '' INT TERM
	[ -z "$up" ] || { kill -TERM "$up" 2>/dev/null || :; wait "$up" || :; }
	rm -rf "$dir"
}
trap finish EXIT
trap 'exit 0' INT TERM

mkfifo "$dir/ready"
"$postern" up --state "$dir/state" --listen "${LISTEN:-127.0.0.1:2222}" --ids "${IDS:-1879048192}" >"$dir/ready" &
up=$!
read -r ready <"$dir/ready" || { echo "up: it did not start" >&2; exit 1; }
address=${ready#ready }
port=${address##*:}
host=${address%:*}
host=${host#[}
host=${host%]}

ssh-keygen -q -t ed25519 -N '' -C agent-key -f "$dir/agent"
"$postern" cert issue --ca "$dir/state/ca/demo" --key "$dir/agent.pub" --role agent --id "${SUDO_USER:-root}@demo" \
	--ttl 8h >/dev/null
"$postern" --state "$dir/state" host-key | sed "s/^/[$host]:$port /" >"$dir/known_hosts"

cat <<TEXT

$ready

Try, from another terminal:

  ssh -p $port -i $dir/agent -o UserKnownHostsFile=$dir/known_hosts agent@$host

A certificate of your own for the tenant demo (or other):

  ssh-keygen -s $dir/state/ca/demo -I you -n agent -V +5m KEY.pub

And as operator:

  $postern --state $dir/state status
  $postern --state $dir/state audit show --follow

Ctrl-C ends it; nothing is left.

TEXT
status=0
wait "$up" || status=$?
up=
exit "$status"
