"""The faults that a process pool must survive, against every pool: `python -m benches.faults`.

Each fault meets each pool in a process of its own, in a session of its own, with a time limit. The
verdict is the worst of what was seen:

- *hang*: it did not come to its end within the limit;
- *pool lost*: afterwards the pool did no work any more;
- *task lost*: a task failed, or gave a wrong answer, that had no part in the fault;
- *left behind*: processes were left after the program's end;
- *correct*: exactly the right tasks failed, and the pool went on;
- *no such option*: the pool cannot be asked for this.
"""
