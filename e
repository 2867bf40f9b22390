gedanken: error: standard output: No space left on device
