"""Worker processes: how they are sent their work, started, watched and ended; who they are is said elsewhere."""
