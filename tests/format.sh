#!/bin/sh
# C sources are as .clang-format says, and no line is longer than its limit: the formatter leaves comments alone. Other releases of
# clang-format than 14 (Debian 12) format a few places in another way: skipped (77).
set -eu
cd "$(readlink -f "$(dirname "$(readlink -f "$0")")/..")"
clang-format --version 2>/dev/null | grep -q 'version 14\.' || {
    echo "skipped: no clang-format 14 (Debian 12: clang-format)"
    exit 77
}
find src include tests -name '*.[ch]' -exec clang-format --dry-run --Werror {} +
if grep -rnE --include='*.[ch]' '.{129,}' src include tests; then
    echo "longer than 128 characters"
    exit 1
fi
