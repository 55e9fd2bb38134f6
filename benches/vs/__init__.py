"""Counterpoint against the standard library and other packages, in one run.

``python -m benches.vs --help`` says how to run it. Vocabulary:

library
    A package under test. It gives a factory for each *kind* of object that it has
    (``libraries.py``).
subject
    What a factory makes: the object's bound methods under common names, so that one loop runs on
    every library's object (``subjects.py``).
case
    A piece of work on one kind of subject, how its time is taken, and what the project demands of
    it (``case.py``; the cases themselves are in ``cases/``).
host
    A process that measures one library's process pools and queues, on request (``host.py``): there
    is one for each, so that none of them sees what another one has open, and one that hangs costs
    its own column (``hosts.py``).
round
    One sample of every library, one after the other. Ratios are taken within rounds, because a
    shared machine changes its speed between them (``measure.py``).
"""
