"""Checks every checkpoint against the digests that were saved with it.

  python -m mnist_jax.verify --workdir=runs/cnn
  python -m mnist_jax.verify --workdir=runs/cnn --replay
  python -m mnist_jax.verify --workdir=runs/looped-sweep
  python -m mnist_jax.verify --workdir=runs/looped-sweep --member='256 relu softmax' --seed=1

Prints one line per checkpoint of a run, of all populations of a sweep, or of one network of a
sweep. Exits with status 1 if a checkpoint is damaged. Warns if your own code, which the
configuration names, has changed since the run began. Changes no files.

Digests do not show that a training computed wrongly, or that its memory changed while it ran. With
--replay, the network is trained again from each checkpoint to the next, which takes as long as it
took then, and the bits are compared. Where they differ, lines that follow name the arrays. The
status is then 1, as it is if there was nothing to replay. The two checkpoints that a run keeps by
default are one epoch apart; config.keep_latest is their number. With --replay=start, it is also
trained from its first step to the first of them.

The bits are those of one kind of processor, one version of JAX and one number of devices; with
config.reduction = 'elastic', of any number. Where they differ and these do, too, the lines say so.
The networks of a population are trained together, even for --member.
"""

from argparse import Namespace

from mnist_jax.commands import cli


def define(parser: cli.Parser) -> None:
    """Adds the command's arguments to the parser."""
    parser.add_argument(
        "--workdir", required=True, metavar="DIR", help="folder of a run or a sweep"
    )
    parser.add_argument(
        "--replay",
        nargs="?",
        const="kept",
        choices=("kept", "start"),
        metavar="start",
        help="train again from each checkpoint to the next, and compare; "
        "--replay=start: also from the first step",
    )
    cli.add_member(parser)


def main(arguments: Namespace) -> int:
    """Checks the checkpoints and prints one line for each; returns the exit status."""
    from mnist_jax.training import own_code, verification  # imported late: --help does not need it

    own_code.warn_of_changes(arguments.workdir)
    if arguments.replay:
        return _replayed(arguments)
    sound = True
    for name, problem in verification.verify(arguments.workdir, arguments.member, arguments.seed):
        print(f"{name}: {'DAMAGED: ' + problem if problem else 'sound'}", flush=True)
        sound = sound and not problem
    return int(not sound)


def _replayed(arguments: Namespace) -> int:
    """Checks and replays the checkpoints; returns the exit status."""
    from mnist_jax.compilation import keep_programs  # imported late, as above
    from mnist_jax.errors import print_warning
    from mnist_jax.training import provenance, replay

    keep_programs()
    provenance.announce()
    found = []
    for its in replay.replay(
        arguments.workdir,
        arguments.member,
        arguments.seed,
        from_start=arguments.replay == "start",
    ):
        state = f"DAMAGED: {its.problem}" if its.problem else f"sound; {its.replay}"
        print("\n  ".join([f"{its.name}: {state}", *its.details]), flush=True)
        found.append(its)
    if not any(its.replayed for its in found):
        advice = "; --replay=start trains from the first step" * (arguments.replay != "start")
        print_warning(f"nothing was replayed: that needs two sound checkpoints{advice}")
        return 1
    return int(any(its.problem or not its.equal for its in found))


def command() -> None:
    """Runs the command with the arguments of the process, and exits with its status."""
    cli.run(main, __doc__, define)
