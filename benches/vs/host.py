"""Measures one library's process pools and queues: ``python -m benches.vs.host LIBRARY``.

Each line of standard input is a request in JSON, each line of output its answer. What libraries
print goes nowhere.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benches.vs.process_works import Answer, Pools


def answer(pools: Pools, line: str) -> Answer:
    request = json.loads(line)
    if request["work"] == "close":
        pools.close()
        return {}
    from benches.vs.process_works import perform

    try:
        return perform(pools, request["work"], request["workers"], request["n"])
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}


def main() -> None:
    # Here: some libraries' workers import this module, as the program's main one.
    from benches.vs.process_works import Pools

    answers = os.fdopen(os.dup(1), "w")
    requests = os.fdopen(os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    warnings.simplefilter("ignore")  # that a process with threads is forked, for one
    pools = Pools(sys.argv[1])
    # Lines one by one: an iterator would read ahead, into the memory of what is forked meanwhile.
    while line := requests.readline():
        print(json.dumps(answer(pools, line)), file=answers, flush=True)
    pools.close()


if __name__ == "__main__":
    main()
