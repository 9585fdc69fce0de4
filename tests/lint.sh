#!/bin/sh
# Shell scripts pass shellcheck, Python passes pyflakes, the man pages pass mandoc: nothing is worse than style. Skipped (77) where
# one of the three is missing.
set -eu
cd "$(dirname "$0")/.."
for tool in shellcheck pyflakes3 mandoc; do
    command -v "$tool" >/dev/null || {
        echo "skipped: no $tool (Debian: shellcheck pyflakes3 mandoc)"
        exit 77
    }
done
shellcheck -x .ci/run jobs/*.sh tests/*.sh tests/*/*.sh
pyflakes3 analysis tests
mandoc -T lint -W warning src/cli/man/*
