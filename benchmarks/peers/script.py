"""Trains a network as a user of a peer would: loads the four files, trains, evaluates, prints.

python -m benchmarks.peers.script torch mlp 3 55000
"""

import json
import os
import sys
import time

from benchmarks.peers.contestants import CONTESTANTS
from benchmarks.peers.worker import maker


def main(name: str, network: str, epochs: int, examples: int) -> None:
    """Trains a network with a contestant's first variant; prints its time and accuracy as JSON."""
    contestant = CONTESTANTS[name]
    os.environ.update(contestant.environment)
    trainer = maker(contestant.build)(network, examples, contestant.variants[0])
    started = time.perf_counter()
    for _ in range(epochs):
        trainer.epoch()
    seconds = time.perf_counter() - started
    print(json.dumps({"training_seconds": seconds, "accuracy": trainer.accuracy()}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
