"""Who makes the mini-batches of a Generator: workers in this thread, in others or in processes, and their feed."""
