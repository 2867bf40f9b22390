"""The engine for CPUs, from the top: `engine` runs what `lowering` made of layers, a `program` of `kernels` that
`compiler` has
turned into machine code and `threads` work through."""
