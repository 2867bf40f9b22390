"""The command line: `gedanken train`, `check`, `evaluate`, `predict`, `summary`, `info`."""
