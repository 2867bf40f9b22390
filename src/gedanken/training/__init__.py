"""The training loop, its records, and who listens to them."""
