"""What is wrong with a network and its data, found in seconds, before a long training."""
