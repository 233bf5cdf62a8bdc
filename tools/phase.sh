#!/usr/bin/env bash
# phase.sh NAME COMMAND...: runs one phase of `make test` under a header and tells how long it took.
# The times of a run gather in build/phases.txt.
set -uo pipefail
name=$1
shift
printf '\n==== %s\n' "$name"
start=$SECONDS
"$@"
code=$?
line=$(printf '==== %-28s %4d s  %s' "$name" $((SECONDS - start)) "$([ $code -eq 0 ] && echo ok || echo "FAILED ($code)")")
echo "$line"
echo "$line" >>build/phases.txt
exit $code
