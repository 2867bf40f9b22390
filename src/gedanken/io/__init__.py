"""Model files and architectures as data."""
