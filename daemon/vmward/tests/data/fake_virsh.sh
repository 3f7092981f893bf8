#!/bin/sh
# A stand-in for virsh with one domain, whose state is a file beside it.
#
# `shutdown` makes it shut off at the second look at its state; a file
# `stubborn` makes the guest ignore it, a file `refused` makes `destroy` fail, a
# file `transient` makes the domain cease to exist with its process.
# Every command is written down.
set -eu

folder=$(dirname "$0")
name=web-1
uuid=4dea22b3-1d52-d8f3-2516-782e98ab3fa0

if [ "$1 $2 $3" != "--quiet --connect test:///fake" ]; then
    echo "unexpected arguments: $*" >&2
    exit 2
fi
shift 3
echo "$*" >>"$folder/commands"
state=$(cat "$folder/state")

if [ "$1" = list ]; then
    case "$*-$state" in
        *-gone) ;;
        *--name*) printf '%-36s %-30s\n' "$uuid" "$name" ;;
        *--state-running-running | *"--state-shutoff-shut off") echo "$uuid" ;;
    esac
    exit 0
fi

if [ "$state" = gone ] || { [ "$3" != "$name" ] && [ "$3" != "$uuid" ]; }; then
    echo "error: failed to get domain '$3'" >&2
    exit 1
fi

case "$1" in
    domuuid) echo "$uuid" ;;
    domname) echo "$name" ;;
    domstate)
        if [ "$state" = stopping ]; then
            echo "in shutdown"
            printf 'shut off' >"$folder/state"
        else
            echo "$state"
        fi
        ;;
    shutdown) [ -e "$folder/stubborn" ] || printf stopping >"$folder/state" ;;
    destroy)
        if [ -e "$folder/refused" ]; then
            echo "error: Failed to destroy domain: Operation not permitted" >&2
            exit 1
        fi
        [ -e "$folder/transient" ] && state=gone || state='shut off'
        printf '%s' "$state" >"$folder/state"
        ;;
    start) printf running >"$folder/state" ;;
    *)
        echo "unexpected command $1" >&2
        exit 2
        ;;
esac
