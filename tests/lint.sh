#!/bin/sh
# Shell scripts pass shellcheck, Python passes pyflakes, the man pages pass mandoc: nothing is worse than style. Skipped (77) where
# one of the three is missing.
set -eu
cd "$(readlink -f "$(dirname "$(readlink -f "$0")")/..")"
for tool in shellcheck pyflakes3 mandoc; do
    command -v "$tool" >/dev/null || {
        echo "skipped: no $tool (Debian: shellcheck pyflakes3 mandoc)"
        exit 77
    }
done
shellcheck -x .ci/run jobs/*.sh tests/*.sh tests/*/*.sh
pyflakes3 analysis tests
mandoc -T lint -W warning src/cli/man/*
finders=$(for script in jobs/*.sh; do sed -n '/^find_home() {/,/^}/p' "$script" | cksum; done | sort -u | grep -vc ' 0$')
[ "$finders" -eq 1 ] || {
    echo "find_home differs among the scripts in jobs"
    exit 1
}
