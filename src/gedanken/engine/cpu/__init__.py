"""The engine for CPUs. `lowering` makes a `program` of layers: calls of `kernels`, which `compiler` turns into machine
code. `threads` work through it, and `engine` is what a plan sees of all this."""
