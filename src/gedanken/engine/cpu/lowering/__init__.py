"""From layers to instructions: which layers become which kernels, forwards and backwards."""
