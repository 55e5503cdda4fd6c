"""Flips one bit in the memory of a training while it trains, as failing hardware would.

The checkpoints that follow are saved with digests that match them.
"""

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mnist_jax.training import checkpoint, step
from mnist_jax.training.program import Program

# Runs a module of this project, with its arguments, after planting a flip.
CODE = """
import json, runpy, sys
from benchmarks.reliability.planting import flips
flips.plant(**json.loads(sys.argv[1]))
sys.argv = sys.argv[2:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
DATA = ("images", "labels")
GRADIENT = "gradient"
NEVER = -1  # a step that does not come
FLIPPED = "flipped"  # the line on standard output


def plant(where: str, at: int, seed: int, member: int = 0) -> None:
    """Lets this process flip a bit once: before the chunk that begins with step `at`.

    A line that begins with `flipped` says that it has done so.

    Args:
      where: the beginning of the names of the arrays to choose from, such as `params` or
        `optimizer/0/0/mu`; or `images` or `labels` of the training split; or `gradient`, which is
        flipped in the compiled step itself, in step `at`.
      at: the step, counted from 0; or `NEVER`, to compile the step with a place for the flip and
        leave it at that.
      seed: decides the array, the value and the bit.
      member: the position of the network whose state is changed.
    """
    random = np.random.default_rng(seed)
    compiled = _plant_in_the_step(at, random) if where == GRADIENT else []
    its: Any = Program
    advance, done = its.advance, []

    def flipped(program: Program, state: Any, chunk: Any, active: np.ndarray) -> Any:
        if not done and program.layout.members(state["step"])[member] == at:
            if where == GRADIENT:
                done.extend(compiled)  # none if the step was compiled without the flip
            elif where in DATA:
                done.append(_flip_in_data(program, where, random))
            else:
                state, name = _flip_in_state(program, state, where, member, random)
                done.append(name)
            for name in done[:1]:
                print(f"{FLIPPED} {name} before step {at}", flush=True)
        return advance(program, state, chunk, active)

    its.advance = flipped


def arguments(name: str, *words: str, **flip: Any) -> list[str]:
    """Returns the arguments of a Python that runs `mnist_jax.NAME` with a flip."""
    return ["-c", CODE, json.dumps(flip), f"mnist_jax.{name}", *words]


def flip(array: np.ndarray, random: np.random.Generator) -> str:
    """Flips a random bit of an array in place; returns which."""
    bits = array.reshape(-1).view(f"u{array.dtype.itemsize}")
    index, bit = random.integers(bits.size), random.integers(8 * array.dtype.itemsize)
    bits[index] ^= bits.dtype.type(1) << bits.dtype.type(bit)
    return f"bit {bit} of value {index}"


def _flip_in_state(
    program: Program, state: Any, where: str, member: int, random: np.random.Generator
) -> tuple[Any, str]:
    """Returns the state with one bit flipped in one of its arrays, and a description."""
    tree = program.layout.members(state)
    arrays = {name: np.array(its) for name, its in checkpoint.flatten(tree).items()}
    names = [name for name in arrays if name.startswith(where)]
    name = names[random.integers(len(names))]
    which = flip(arrays[name][member : member + 1], random)
    return program.layout.place(checkpoint.unflatten(arrays, tree)), f"{which} of {name}"


def _flip_in_data(program: Program, where: str, random: np.random.Generator) -> str:
    """Flips a bit of an example that lies on the devices, and returns a description.

    Of a label, one of the four lowest bits: the next higher ones make it no class at all.
    """
    feed: Any = program.feed
    images, labels = (np.array(its) for its in feed.resident)
    if where == "images":
        which = flip(images, random)
    else:
        example, bit = random.integers(len(labels)), random.integers(4)
        labels[example] ^= 1 << bit
        which = f"bit {bit} of value {example}"
    feed.resident = program.layout.replicate((images, labels))
    return f"{which} of {where}"


def _plant_in_the_step(at: int, random: np.random.Generator) -> list[str]:
    """Lets the compiled step flip a bit of one value of the gradient, in step `at`.

    Returns:
      A list to which a description is added for each step that is compiled with the flip.
    """
    gradients = step._gradients
    place, bit = random.random(), int(random.integers(32))
    compiled: list[str] = []

    def flipped(task: Any, state: Any, batch: Any) -> Any:
        found, sums, variables = gradients(task, state, batch)
        leaves, structure = jax.tree.flatten(found)
        chosen = int(place * len(leaves))
        leaf = leaves[chosen]
        index = int(place * 7919 * leaf.size) % leaf.size
        mask = jnp.zeros(leaf.size, jnp.uint32).at[index].set(np.uint32(1 << bit))
        mask = jnp.where(state["step"] == at, mask.reshape(leaf.shape), 0)
        bits = jax.lax.bitcast_convert_type(leaf, jnp.uint32) ^ mask
        leaves[chosen] = jax.lax.bitcast_convert_type(bits, leaf.dtype)
        compiled.append(f"bit {bit} of value {index} of array {chosen} of the gradient")
        return jax.tree.unflatten(structure, leaves), sums, variables

    step._gradients = flipped
    return compiled
