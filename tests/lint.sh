#!/bin/sh
# The rules of the house that a compiler does not know: layers, one place for each library, banned
# functions, size of files, headers that stand alone, formatting. Prints each problem, or "lint: ok".
set -u
cd "$(dirname "$0")/.." || exit 1
tmp=$(mktemp) || exit 1
trap 'rm -f "$tmp"' EXIT

files() { # tracked files that are there
	git ls-files "$@" | while read -r f; do [ -f "$f" ] && printf '%s\n' "$f"; done
}

python3 tests/lint.py $(files) >>"$tmp" || echo "tests/lint.py: failed" >>"$tmp"

# Every header compiles alone.
files '*.h' | xargs -r -P "$(nproc)" -n 1 sh -c '
	out=$(gcc -std=gnu17 -D_GNU_SOURCE -I. -Wall -Wextra -Werror -fsyntax-only -x c -include "$1" /dev/null 2>&1) ||
		printf "%s: does not compile alone\n%s\n" "$1" "$out"' lint >>"$tmp"

if command -v clang-format >/dev/null; then
	files '*.c' '*.h' | xargs -r -P "$(nproc)" -n 8 clang-format --dry-run -Werror 2>&1 |
		grep 'error:' | cut -d: -f1 | sort | uniq -c |
		while read -r n f; do echo "$f: not formatted ($n places): make format"; done >>"$tmp"
else
	echo "clang-format is missing: make deps" >>"$tmp"
fi

if [ -s "$tmp" ]; then
	cat "$tmp"
	exit 1
fi
echo "lint: ok"
