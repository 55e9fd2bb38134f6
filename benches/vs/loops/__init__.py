"""Event loops: what is measured in processes of their own.

loop
    A function that makes an event loop, by its name ``module:function``; each library that has one
    names its own (``libraries.py``).
server
    A process that serves one protocol on one loop (``server.py``, ``echo.py``, ``web.py``), or the
    bare one in Rust: an epoll that receives and sends. That one is the 100 % line.
load
    The client, in Rust, with one exchange in flight on each connection.
session
    A server, its load and their open connections, which stay over all rounds of a case
    (``sessions.py``).

A server is judged by its own CPU time for each request; the wall clock stands beside it. What one
loop does by itself, such as callbacks and timers, runs in a host of its own (``works.py``,
``host.py``).
"""
