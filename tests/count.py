"""Counts what meson ran: count.py testlog.json, with the output of `meson test --list` on standard input. Prints why tests were
skipped and, as the last line, "N passed, N failed, N skipped"; exit 1 where one failed or did not run."""
import json
import os
import sys

listed = {line.strip() for line in sys.stdin if " / " in line}
ran = {}
if os.path.exists(sys.argv[1]):
    with open(sys.argv[1]) as file:
        ran = {test["name"]: test for test in map(json.loads, file)}
passed = [name for name, test in ran.items() if test["result"] in ("OK", "EXPECTEDFAIL")]
skipped = [name for name, test in ran.items() if test["result"] == "SKIP"]
failed = sorted(set(ran) - set(passed) - set(skipped) | listed - set(ran))
for name in skipped:
    reasons = [line for line in ran[name].get("stdout", "").splitlines() if line.startswith("skipped:")]
    print(f"{name}: {reasons[-1] if reasons else 'skipped'}")
for name in failed:
    print(f"{name}: {'failed' if name in ran else 'did not run'}")
print(f"{len(passed)} passed, {len(failed)} failed, {len(skipped)} skipped")
sys.exit(bool(failed) or not passed)
