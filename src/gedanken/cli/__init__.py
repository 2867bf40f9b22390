"""The command line: `gedanken train`, `evaluate`, `predict`, `summary`, `info`."""
