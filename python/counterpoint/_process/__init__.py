"""The Python half of the process pool."""

import os

from counterpoint._core import _after_fork

# In the user's process and in workers alike: what a fork inherits is not its own. That the modules
# for threads say so too does no harm.
os.register_at_fork(after_in_child=_after_fork)
