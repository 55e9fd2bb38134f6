"""Worker processes: how they are started, what they do before their first task, how they end.

- `launch`: what a pool uses, in the user's process.
- `zygotes`: the user's process's end of its zygote.
- `zygote`: the zygote, a process of one thread that forks workers and reports how they ended.
- `boot`: the worker, from the fork to its exit.
- `wire`, `commands`: what they all agree upon.

The user's process is never forked for a worker, unless it asks for that method: a fork copies the
locks that other threads hold. It has one child, the zygote, whose children the workers are.
"""
