"""Runs works on one event loop: ``python -m benches.vs.loops.host MODULE:FUNCTION``.

Each line of standard input is a work and a number of operations, each line of output the answer in
JSON.
"""

from __future__ import annotations

import json
import sys

from benches.vs.loops.names import new_loop_of
from benches.vs.loops.works import perform


def main() -> None:
    new_loop = new_loop_of(sys.argv[1])
    print("ready", flush=True)
    for line in sys.stdin:
        work, count = line.split()
        sample = perform(new_loop, work, int(count))
        print(json.dumps(sample._asdict()), flush=True)


if __name__ == "__main__":
    main()
