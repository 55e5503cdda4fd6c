"""Writes RELIABILITY.md from the measurements."""

from typing import Any

from benchmarks import measured, readme

PARTS = {  # module: its heading
    "kills": "Killed and started again",
    "processes": "Several processes, killed and started again",
    "corruption": "Damaged files",
    "replay": "Wrong arithmetic",
    "faults": "Faulty systems",
    "numbers": "Numbers that are not finite",
    "inputs": "Input of any kind",
    "determinism": "The same command twice",
    "endurance": "Long runs",
}


def table(found: dict[str, Any]) -> str:
    """Returns the measured parts as Markdown: a heading, a table and the conditions for each."""
    return "\n\n".join(_part(name, found[name]) for name in PARTS if name in found)


def write(found: dict[str, Any]) -> None:
    """Replaces the tables in RELIABILITY.md."""
    readme.replace("reliability", table(found), file="RELIABILITY.md")


def _part(name: str, found: dict[str, Any]) -> str:
    conditions = found["conditions"]
    lines = [
        f"## {PARTS[name]}",
        "",
        "| what was tried | cases | lost | found |",
        "| --- | ---: | ---: | --- |",
    ]
    for row in found["rows"]:
        lost = len(row["lost"]) or ("none" if row["promised"] else "-")
        lines.append(f"| {row['what']} | {row['tried']:,} | {lost} | {row['found']} |")
    seconds = found["seconds"]
    took = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
    command = f"`python -m benchmarks.reliability {name}` ({took})"
    return "\n".join([*lines, "", f"{command}. {measured.sentence(conditions)}"])
