# The examples of the reference, applied where `run` and `systemd` have a Debian: once, again with nothing left to do, and after
# something was changed from outside. The library says which types are tried where (`tried:` in stdlib/types); a script of
# tests/tried has what a host needs before (`packages`, `prepare`), what somebody does to it (`drift`), and what has to go after it
# (`cleanup`). Types with `alone=yes` are in a network of their own. Where the example cannot be taken as it is, `map` says
# what becomes of it.
#
# Needs `inside COMMAND...`, `alone COMMAND...`, `$root`, `$bin`, `$work` and `$failed`.

types_of() { # TIER
    local file
    for file in $(grep -lx "tried: $1" stdlib/types/*.vgo); do basename "$file" .vgo; done
}

packages_of() { # TYPE
    sed -n "s/^packages=//p" "tests/tried/$1.sh" | tr -d "'"
}

wrong() {
    echo "   NOT: $*"
    failed=1
}

# For scripts: the standard input in the place of a file below /proc. A kernel that has no such file gets a /proc of our own.
stands='
stand_in() {
    cat >"srv/$1"
    if [ -e "proc/$1" ]; then
        mount --bind "srv/$1" "proc/$1"
    else
        mkdir -p srv/proc
        mount --bind proc srv/proc
        mount -t tmpfs tmpfs proc
        ln -s ../srv/proc/self proc/self
        cp "srv/$1" proc/
    fi
}
stand_out() {
    if [ -d srv/proc ]; then umount proc && umount srv/proc && rmdir srv/proc; else umount "proc/$1"; fi
}'

# One function of a script, in the root.
script() { # TYPE FUNCTION
    "$place" sh -ec "$stands
. /tried/$1.sh; $2"
}

applied() { # CODE BEGINNING END: how a run has to end, and what its last line has to say
    local code=0 last
    "$place" vigo apply /tried/bundle --envoy tried.test --detailed-exitcode >"$work/out" 2>&1 || code=$?
    sed 's/^/   /' "$work/out"
    last=$(grep ' ok, ' "$work/out" | tail -1)
    if [ "$code" != "$1" ]; then wrong "ended with $code, expected $1"; fi
    case $last in "$2"*"$3"*) ;; *) wrong "expected \`$2...$3\`" ;; esac
}

tried() { # TYPE
    local type=$1 place=inside
    printf '\n== the example of %s\n' "$type"
    if grep -qx 'alone=yes' "tests/tried/$type.sh"; then place=alone; fi
    rm -rf "$root/tried" "$work/tried"
    mkdir -p "$root/tried" "$work/tried/modules"
    cp "tests/tried/$type.sh" "$root/tried/"
    if ! script "$type" prepare </dev/null >"$work/out" 2>&1; then
        sed 's/^/   /' "$work/out"
        wrong 'it could not be prepared'
        return
    fi
    "$bin/vigoc" doc "$type" | sed -n '/^```yaml$/,/^```$/p' | sed '/^```/d' >"$work/example"
    if grep -q '^map()' "tests/tried/$type.sh"; then
        script "$type" map <"$work/example" >"$work/mapped"
        mv "$work/mapped" "$work/example"
    fi
    { printf 'name: tried\nresources:\n' && sed 's/^/  /' "$work/example"; } >"$work/tried/modules/tried.vgo"
    printf 'nodes:\n  - match: tried.test\n    modules: [tried]\n' >"$work/tried/nodes.vgo"
    printf '{"hostname": "tried.test", "traits": {}}\n' >"$work/tried.jsonl"
    "$bin/vigoc" build "$work/tried" --fleet "$work/tried.jsonl" --out "$root/tried/bundle" >"$work/out" 2>&1 ||
        { cat "$work/out"; wrong 'it does not compile'; return; }
    applied 2 '0 ok, ' ' changed, 0 failed, 0 skipped'
    applied 0 '' ' ok, 0 changed, 0 failed'
    script "$type" drift </dev/null >"$work/out" 2>&1 || { cat "$work/out"; wrong 'nothing could be changed'; }
    applied 2 '0 ok, ' ' changed, 0 failed, 0 skipped'
    applied 0 '' ' ok, 0 changed, 0 failed'
    if grep -q '^cleanup()' "tests/tried/$type.sh"; then script "$type" cleanup >/dev/null 2>&1 || wrong 'something stays behind'; fi
}

tried_all() { # TIER...
    local tier type
    for tier in "$@"; do
        for type in $(types_of "$tier"); do tried "$type"; done
    done
}
