"""What the queues need in Python; `counterpoint.queue` is their public home."""
