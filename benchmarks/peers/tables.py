"""Formats the measurements as text: in full for benchmarks/README.md, in short for README.md."""

import math
import statistics
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from benchmarks import measured
from benchmarks.peers.contestants import OURS
from benchmarks.peers.learning import RULE
from benchmarks.peers.networks import BATCH, NETWORKS
from benchmarks.peers.parts import Part, parts
from benchmarks.peers.record import Found

WIDTH = 100
PACKAGES = ("jax", "flax", "torch", "keras", "tensorflow")
# The contestants with a column in the short table.
SHORT = ("torch", "torch_compile", "torch_graphs", "keras", "keras_steps", "flax")


def whole(found: Found) -> str:
    """Returns all tables, each with its measuring conditions under it."""
    warning = "QUICK RUN: parts of epochs and few rounds; do not quote these numbers.\n\n"
    quick = warning if found["quick"] else ""
    if found["left_out"]:
        quick += f"Left out for lack of time: {', '.join(found['left_out'])}.\n\n"
    tables = {"networks": _network, "recipe": _recipe, "whole": _process}
    texts = [
        f"{tables[part.kind](part)}\n{_remarks(part)}{_wrapped(_conditions(part))}"
        for part in parts(found)
    ]
    return quick + "\n\n".join(texts)


def _network(part: Part) -> str:
    shape, network = part.found, NETWORKS[part.name]
    limit = statistics.median(shape["product_gflops"])
    flops = _flops(part)
    epoch = (
        f"{part.name}: {network.words}. An epoch has {shape['steps']} steps of {BATCH} images and "
        f"takes {flops / 1e12:.3f} TFLOP ({network.flops / 1e6:.1f} MFLOP per image), which is "
        f"{_number(flops / limit / 1e9)} s at the matrix-product limit of {limit:.0f} GFLOP/s."
    )
    rows = []
    for name, one in part.contestants.items():
        if "reason" in one:
            rows.append([one["title"], "not measured", "", "", ""])
            continue
        seconds = one["seconds"]
        accuracy = f"{100 * one['accuracy']:.2f}"
        limits = _times_the_limit(part, one)
        rows.append([one["title"], spread(seconds), _ratio(part, name), limits, accuracy])
    return _titled(
        epoch, ["", "s per epoch (min..max)", "ratio (min..max)", "x limit", "test, %"], rows
    )


def _times_the_limit(part: Part, one: Found) -> str:
    pairs = zip(one["seconds"], part.found["product_gflops"], strict=True)
    return _median([seconds * gflops * 1e9 / _flops(part) for seconds, gflops in pairs])


def _flops(part: Part) -> float:
    return part.found["flops_an_image"] * part.found["steps"] * BATCH


def _recipe(part: Part) -> str:
    rows = []
    for name, one in part.contestants.items():
        if "reason" in one:
            rows.append([one["title"], "not measured", "", "", ""])
            continue
        cost = _tera(one) or "not counted"
        rows.append([one["title"], spread(one["seconds"]), _ratio(part, name), cost, _percent(one)])
    header = ["", "training, s (min..max)", "ratio (min..max)", "TFLOP", "test, %"]
    title = (
        "Time to 99 % test accuracy: a complete training from scratch, with another seed in each "
        "round."
    )
    return _titled(title, header, rows)


def _process(part: Part) -> str:
    rows = []
    for name, one in part.contestants.items():
        if "reason" in one:
            rows.append([one["title"], "not measured", "", "", "", ""])
            continue
        column = _columns(one)
        rows.append(
            [
                one["title"],
                spread(column("seconds")),
                _ratio(part, name),
                _median(column("training_seconds")),
                f"{max(column('peak_mib')):.0f}",
                f"{100 * statistics.mean(column('accuracy')):.2f}",
            ]
        )
    title = (
        f"The whole process, from the shell to the exit: {part.name}, "
        f"{_epochs(part)} of 55,000 images. The training time includes compilation; {OURS} loads "
        f"its compiled programs from disk, where an earlier run has saved them. Each peer uses its "
        f"first variant, which is the one that its tutorials show."
    )
    header = ["", "s (min..max)", "ratio (min..max)", "training, s", "peak MiB", "test, %"]
    return _titled(title, header, rows)


def _ratio(part: Part, name: str) -> str:
    ratios = part.ratios(name)
    return spread(ratios) if ratios else "none"


def _median_ratio(part: Part, name: str) -> str:
    ratios = part.ratios(name) if name in part.contestants else []
    return _median(ratios) if ratios else "none"


def _present(part: Part) -> list[Found]:
    return [one for one in part.contestants.values() if "reason" not in one]


def _columns(one: Found) -> Callable[[str], list[float]]:
    return lambda name: [run[name] for run in one["runs"]]


def _percent(one: Found) -> str:
    percents = [100 * accuracy for accuracy in one["accuracies"]]
    deviation = f" ± {statistics.stdev(percents):.2f}" if len(percents) > 1 else ""
    return f"{statistics.mean(percents):.2f}{deviation}"


def _remarks(part: Part) -> str:
    """Returns the notes under a table: variants, missing contestants, failures and ratios."""
    lines = [f"Not measured: {one['title']}: {one['reason']}." for one in part.absent()]
    lines += [f"FAILED TO TRAIN: {text}." for text in part.failures().values()]
    taken = [
        f"{one['title']}: {one['variant']}"
        for one in part.contestants.values()
        if len(one.get("trial_seconds", {})) > 1
    ]
    if taken:
        lines.append(f"The fastest variant of each contestant took part. {'; '.join(taken)}.")
    rule = "" if part.kind == "recipe" else f" {RULE}"
    lines.append(
        f"The ratio is the time divided by that of {OURS} in the same round; its median is given."
        f"{rule}"
    )
    return "".join(f"{_wrapped(line)}\n" for line in lines)


def _conditions(part: Part) -> str:
    known = part.conditions["versions"]
    return measured.sentence(part.conditions, *(name for name in PACKAGES if name in known))


def short(found: Found) -> str:
    """Returns the table for README.md, one row per network, and a line per other comparison."""
    header = ["network", f"{OURS}, s per epoch", "x limit"]
    networks = [part for part in parts(found) if part.kind == "networks"]
    peers = [name for name in SHORT if any(name in part.contestants for part in networks)]
    header += [networks[0].contestants[name]["title"] for name in peers]
    rows = []
    for part in networks:
        ours = part.contestants[OURS]
        link = f"[`{part.name}`]({NETWORKS[part.name].config})"
        ratios = (_median_ratio(part, peer) for peer in peers)
        rows.append([link, _median(ours["seconds"]), _times_the_limit(part, ours), *ratios])
    sentences = [_sentence(part) for part in parts(found) if part.kind != "networks"]
    under = (
        f"The columns of the peers hold their time per epoch divided by that of {OURS}; all train "
        f"the same network, in turn. {_all(found)}"
    )
    return "\n".join([_grid(header, rows), "", *sentences, "", under])


def _all(found: Found) -> str:
    """Returns the measuring conditions of all parts, which differ at most in the commit."""
    names: dict[str, list[str]] = {}
    for part in parts(found):
        name = part.name if part.kind == "networks" else part.kind
        names.setdefault(part.conditions["commit"], []).append(name)
    first = next(parts(found))
    if len(names) == 1:
        return _conditions(first)
    commits = [f"{commit} ({', '.join(dict.fromkeys(their))})" for commit, their in names.items()]
    return _conditions(replace(first, conditions=first.conditions | {"commit": "; ".join(commits)}))


def _sentence(part: Part) -> str:
    """Returns a comparison as a line of a list."""
    if part.kind == "recipe":
        said = [
            f"{one['title']} {_median(one['seconds'])} s{_cost(one)} for {_percent(one)} %"
            for one in _present(part)
        ]
        return f"- Time to 99 % test accuracy, training only: {'; '.join(said)}."
    said = []
    for one in _present(part):
        column = _columns(one)
        said.append(
            f"{one['title']} {_median(column('seconds'))} s, {max(column('peak_mib')):.0f} MiB"
        )
    return (
        f"- Time and peak memory of the whole process, {part.name}, {_epochs(part)}: "
        f"{'; '.join(said)}."
    )


def _epochs(part: Part) -> str:
    count = part.found["epochs"]
    return f"{count} epoch{'s' if count > 1 else ''}"


def _cost(one: Found) -> str:
    return f" and {_tera(one)} TFLOP" if _tera(one) else ""


def _tera(one: Found) -> str:
    """Returns the TFLOP of the whole training as text, or an empty string if not counted."""
    flops = one["facts"]["flops"]
    return "" if flops is None else f"{flops / 1e12:.3f}"


def _titled(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return f"{_wrapped(title)}\n\n{_grid(header, rows)}\n"


def _grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table with aligned columns."""
    widths = [max(3, *map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def line(cells: Sequence[str]) -> str:
        first, *rest = zip(cells, widths, strict=True)
        return f"| {' | '.join([first[0].ljust(first[1]), *(c.rjust(w) for c, w in rest)])} |"

    return "\n".join([line(header), line(rule), *map(line, rows)])


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_on_hyphens=False, break_long_words=False)


def spread(values: Sequence[float]) -> str:
    """Returns `median (min..max)` as text, with three significant digits of the median."""
    digits = _digits(statistics.median(values))
    middle, low, high = (f"{f(values):.{digits}f}" for f in (statistics.median, min, max))
    return f"{middle} ({low}..{high})"


def _median(values: Sequence[float]) -> str:
    return _number(statistics.median(values))


def _number(value: float) -> str:
    return f"{value:.{_digits(value)}f}"


def _digits(value: Any) -> int:
    return max(0, 2 - math.floor(math.log10(value))) if value > 0 else 0
