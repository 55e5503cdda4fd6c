"""This project beside its peers: alternately, in one run. `python -m benchmarks.peers --help`."""
