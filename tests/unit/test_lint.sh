#!/bin/sh
# The house rules (layers, headers, banned functions, formatting, size of files) as one test.
echo 1..1
if out=$(sh tests/lint.sh 2>&1); then
	echo "ok 1 - the tree keeps the house rules"
else
	echo "not ok 1 - the tree keeps the house rules"
	printf '%s\n' "$out" | sed 's/^/# /'
fi
