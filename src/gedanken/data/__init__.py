"""Where mini-batches come from."""
