#!/bin/sh
# What `make demo` shows has to be so: the demo itself, with ids of its own.
# serial
echo 1..1
out=$(IDS=1610612736 sh tests/demo.sh "$BUILD" 2>&1)
if [ $? = 0 ]; then
	echo "ok 1 - the_demo_shows_what_it_says"
else
	echo "not ok 1 - the_demo_shows_what_it_says"
	printf '%s\n' "$out" | tail -n 40 | sed 's/^/# /'
fi
