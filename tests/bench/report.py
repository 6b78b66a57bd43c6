# SPDX-License-Identifier: GPL-2.0-or-later
"""What came out: medians and ratios as a table, JSON and an SVG plot."""

import json
import os
import platform
import shutil
import statistics
import subprocess

PEERS = ("fleecefs", "nbdcopy", "nbdfuse", "qemu-fuse", "vm-fuse", "plain")


class Results:
    """All runs of a session."""

    def __init__(self):
        self.runs = []
        self.notes = []

    def note(self, name, value, unit, goal):
        """Something that is no throughput; the goal is in words."""
        self.notes.append({"name": name, "value": value, "unit": unit,
                           "goal": goal})

    def add(self, run):
        self.runs.append(run)

    def of(self, row, peer):
        return [run for run in self.runs
                if run.row == row and run.peer == peer]

    def median(self, row, peer, what=lambda run: run.mb_per_s()):
        """None where there was no run."""
        values = [what(run) for run in self.of(row, peer)]
        return statistics.median(values) if values else None

    def ratio(self, row, peers):
        """fleecefs against the best of the peers, the median of rounds."""
        ours = self.of(row, "fleecefs")
        theirs = [self.of(row, peer) for peer in peers if self.of(row, peer)]
        if not ours or not theirs:
            return None
        return statistics.median(
            own.mb_per_s() / max(run.mb_per_s() for run in rivals)
            for own, *rivals in zip(ours, *theirs))


def machine():
    """The machine and the versions, in a few words each."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        models = [line.split(":")[1].strip() for line in file
                  if line.startswith("model name")]
    return {"cpu": models[0] if models else platform.machine(),
            "cpus": os.cpu_count(), "kernel": platform.release()}


def _number(value, form="{:.0f}"):
    return "" if value is None else form.format(value)


def goal_words(results, row):
    """Each goal of a row, what was reached and whether that is enough."""
    words = []
    for peers, wanted in row.goals:
        ratio = results.ratio(row.name, peers)
        if ratio is not None:
            sign = "" if ratio >= wanted else " (!)"
            words.append(f"{'/'.join(peers)} {ratio:.2f} of {wanted}{sign}")
    return ", ".join(words)


def table(results, rows):
    """Markdown, in MB/s."""
    lines = ["| MB/s | " + " | ".join(PEERS) + " | fleecefs against |",
             "|---|" + "---:|" * len(PEERS) + "---|"]
    for row in rows:
        cells = [_number(results.median(row.name, peer)) for peer in PEERS]
        if any(cells):
            lines.append(f"| {row.name} | {' | '.join(cells)} | "
                         f"{goal_words(results, row)} |")
    return "\n".join(lines + ["", cpu_table(results, rows), "",
                              notes_table(results)])


def notes_table(results):
    """What else was measured."""
    if not results.notes:
        return ""
    lines = ["| | measured | goal |", "|---|---:|---|"]
    for note in results.notes:
        lines.append(f"| {note['name']} | {note['value']:.3g} {note['unit']} "
                     f"| {note['goal']} |")
    return "\n".join(lines)


def cpu_table(results, rows):
    """CPU seconds per GiB of the serving daemon, and of it with QEMU."""
    lines = ["| CPU s/GiB, daemon (with QEMU) | " + " | ".join(PEERS) + " |",
             "|---|" + "---:|" * len(PEERS)]
    for row in rows:
        cells = []
        for peer in PEERS:
            own = results.median(row.name, peer,
                                 lambda run: run.server_cpu_per_gib())
            both = results.median(
                row.name, peer, lambda run: run.server_cpu_per_gib()
                + run.qemu_cpu / (run.bytes / (1 << 30)))
            cells.append("" if own is None else f"{own:.2f} ({both:.2f})")
        if any(cells):
            lines.append(f"| {row.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def write_json(results, path):
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"machine": machine(),
                   "runs": [run.as_dict() for run in results.runs],
                   "notes": results.notes},
                  file, indent=1)


def write_plot(results, rows, path):
    """A bar for each peer and row; nothing where gnuplot is missing."""
    rows = [row for row in rows if results.of(row.name, "fleecefs")]
    if not rows or not shutil.which("gnuplot"):
        return
    data = ["row " + " ".join(PEERS)]
    for row in rows:
        values = [results.median(row.name, peer) or 0 for peer in PEERS]
        data.append(f'"{row.name}" ' + " ".join(f"{v:.1f}" for v in values))
    script = (f"set terminal svg size 1000,480\nset output '{path}'\n"
              "set style data histogram\nset style fill solid\n"
              "set key outside\nset logscale y\nset ylabel 'MB/s'\n"
              "set xtics rotate by -30\n$data << EOD\n"
              + "\n".join(data) + "\nEOD\n"
              f"plot for [i=2:{len(PEERS) + 1}] $data using i:xtic(1) "
              "title columnheader(i)\n")
    subprocess.run(["gnuplot"], input=script.encode(), check=True)
