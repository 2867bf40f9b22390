"""Who makes the mini-batches of a Generator: workers in this thread, others or processes, and their scheduler."""
