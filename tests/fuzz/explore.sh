#!/bin/sh
# Explores every fuzz target with libFuzzer: SECONDS_EACH seconds a target (60), in parallel. Builds below
# $BUILD/fuzz. A crash is left there as crash-*, and belongs into the corpus once it is mended.
# TARGETS="msg yaml" limits it to some.
set -eu
cd "$(dirname "$0")/../.."
: "${BUILD:=build}" "${SECONDS_EACH:=60}" "${CC:=clang}"
out=$BUILD/fuzz
mkdir -p "$out"

FLAGS="-std=gnu17 -g -O1 -D_GNU_SOURCE -DPOSTERN_SAN -I. -I$BUILD/gen -pthread -fno-omit-frame-pointer
	-fsanitize=address,undefined -fno-sanitize-recover=all -ffunction-sections -fdata-sections"
FLAGS="$FLAGS -DPOSTERN_VERSION=\"$(cat VERSION)\""
LIBS="-ljansson -lyaml -levent_core -lcrypto -lcap -llmdb"

# The rooms that targets may need, each file on its own, so that one object serves all targets.
rooms=$(ls lib/*.c creds/*.c broker/*/*.c pam/*.c 2>/dev/null |
	grep -v -e 'main\.c$' -e 'filter_gen\.c$' -e '^broker/init/' -e '^pam/pam_postern' || true)
rooms="$rooms $(ls broker/init/proto.c 2>/dev/null || true)"
make -s BUILD="$BUILD" "$BUILD/gen/filters.h" 2>/dev/null || true

objects=$out/rooms.a
rm -f "$objects"
mkdir -p "$out/obj"
export CC FLAGS out
printf '%s\n' $rooms | xargs -P "$(nproc)" -n 1 sh -c '
	o=$out/obj/$(echo "$1" | tr / _).o
	[ "$o" -nt "$1" ] || $CC $FLAGS -fsanitize=fuzzer-no-link -w -c "$1" -o "$o" ||
		echo "explore: $1 does not compile, targets that need it will not link" >&2' compile
ar rcs "$objects" "$out"/obj/*.o

status=0
pids=
for source in tests/fuzz/fuzz_*.c; do
	name=$(basename "$source" .c)
	name=${name#fuzz_}
	case " ${TARGETS:-$name} " in *" $name "*) ;; *) continue ;; esac
	if ! $CC $FLAGS -fsanitize=fuzzer "$source" "$objects" -Wl,--gc-sections -Wl,--as-needed \
		$LIBS -o "$out/fuzz_$name"; then
		echo "explore: $name does not build" >&2
		status=1
		continue
	fi
	mkdir -p "$out/corpus/$name" # what is found goes there, not into the tree
	"$out/fuzz_$name" -max_total_time="$SECONDS_EACH" -timeout=10 -rss_limit_mb=2048 -max_len=16384 \
		-print_final_stats=1 -artifact_prefix="$out/crash-$name-" "$out/corpus/$name" \
		"tests/fuzz/corpus/$name" >"$out/$name.log" 2>&1 &
	pids="$pids $!:$name"
done
for p in $pids; do
	name=${p#*:}
	if wait "${p%%:*}"; then
		echo "explored $name: $(grep -o 'stat::number_of_executed_units: *[0-9]*' "$out/$name.log" |
			grep -o '[0-9]*$') runs, nothing found"
	else
		echo "explored $name: FOUND SOMETHING, see $out/$name.log" >&2
		tail -n 30 "$out/$name.log" >&2
		status=1
	fi
done
exit $status
