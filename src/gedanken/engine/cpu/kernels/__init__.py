"""What the steps of a network do, task by task; each file is a family of kernels."""
