# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""What an evaluation found, beside what others published: Markdown, LaTeX and JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from diffpose_core.evaluation.protocol import PROTOCOLS, Protocol
from diffpose_core.evaluation.published import Published
from diffpose_core.evaluation.scores import Summary

FIGURES = ("MPJPE", "PA-MPJPE", "PCK", "AUC", "CPS")
PERCENT = ("PCK", "AUC")
QUOTED = " (q)"
HEAD = ("method", "hypotheses", "MPJPE, mm", "PA-MPJPE, mm", "PCK@150, %", "AUC, %", "CPS, mm", "2D input", "root",
        "camera", "learnt from", "source")  # fmt: skip


@dataclass(frozen=True)
class Conditions:
    """What our rows were allowed to know, in the words of the tables.

    Attributes:
        input_2d: where keypoints came from.
        root: whether the true pelvis was told.
        intrinsics: whether the true camera was told.
        learnt_from: what the prior was trained on.
    """

    input_2d: str
    root: str
    intrinsics: str
    learnt_from: str


def _cell(name: str, figures: Mapping[str, float], key: str, after: str = "") -> str:
    if key not in figures:
        return "-"
    return f"{figures[key] * (100 if name in PERCENT else 1):.1f}{after}"


def _spread(name: str, summary: Summary, key: str) -> str:
    return f" ± {_cell(name, summary.spread, key)}" if summary.spread else ""


def rows(
    summary: Summary, sizes: Sequence[int], conditions: Conditions, published: Sequence[Published]
) -> list[list[str]]:
    """Return the lines of the table under ``HEAD``: ours first, then the published ones by their MPJPE."""
    told = [conditions.input_2d, conditions.root, conditions.intrinsics, conditions.learnt_from]
    lines = []
    for label, key in [("mean", "of the mean"), *((f"best of {m}", f"best of {m}") for m in sizes)]:
        if f"MPJPE {key}" in summary.figures:
            named = [(name, f"{name} {key}") for name in FIGURES]
            cells = [_cell(name, summary.figures, full, _spread(name, summary, full)) for name, full in named]
            lines.append(["diffpose", label, *cells, *told, "this report"])
    for row in sorted(published, key=lambda p: p.figures.get("MPJPE", float("inf"))):
        cells = [_cell(name, row.figures, name, QUOTED if name in row.quoted else "") for name in FIGURES]
        chosen = f"best of {row.hypotheses}" if row.hypotheses > 1 else "1"
        lines.append([row.method, chosen, *cells, row.input_2d, row.root, row.intrinsics, row.learnt_from, row.source])
    return lines


def markdown_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Format a table."""
    text = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(line)} |" for line in lines)]
    return "\n".join(text)


_LATEX = {"&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_", "$": r"\$", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
          "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "±": r"$\pm$"}  # fmt: skip


def latex(text: str) -> str:
    """Escape text for LaTeX."""
    return re.sub(r"[&%#_${}~^\\±]", lambda found: _LATEX[found[0]], text)


def latex_table(title: str, head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Format a table for the package ``booktabs``."""
    columns = "ll" + "r" * len(FIGURES) + "l" * (len(head) - 2 - len(FIGURES))
    body = [" & ".join(map(latex, line)) + r" \\" for line in lines]
    ours = sum(line[0] == "diffpose" for line in lines)
    parts = [
        rf"\begin{{table}}\caption{{{latex(title)}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(map(latex, head)) + r" \\",
        r"\midrule",
        *body[:ours],
        *([r"\midrule", *body[ours:]] if len(body) > ours else []),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(parts) + "\n"


def _by(groups: Mapping[str, Mapping[str, float]], first: str, sizes: Sequence[int]) -> str:
    largest = max((m for m in sizes if f"MPJPE best of {m}" in next(iter(groups.values()))), default=1)
    keys = ("MPJPE of the mean", "PA-MPJPE of the mean", f"MPJPE best of {largest}", f"PA-MPJPE best of {largest}")
    lines = [[name or "not named", *(f"{figures[k]:.1f}" for k in keys)] for name, figures in groups.items()]
    return markdown_table((first, *(f"{k}, mm" for k in keys)), lines)


def markdown(
    protocol: Protocol, about: Mapping[str, str], summary: Summary, sizes: Sequence[int], lines: Sequence[Sequence[str]]
) -> str:
    """Write the report; its pictures lie beside it."""
    calibration = [f"{k} {v:.3f}" for k, v in summary.figures.items() if "inside" in k]
    joints = [
        [joint, f"{summary.mean_joints[joint]:.1f}", f"{summary.best_joints[joint]:.1f}"] for joint in protocol.joints
    ]
    parts = [
        f"# {protocol.title}",
        f"{summary.frames:,} frames; in {summary.not_found:,} of them the 2D input did not show the person. "
        f"Means over {'actions' if protocol.by_action else 'frames'}. Protocol: {protocol.defined_in}.",
        "\n".join(f"- {key}: {value}" for key, value in about.items()),
        markdown_table(HEAD, lines),
        "Ours: hypotheses have equal weights; best of m is the expected best of m drawn from them; ± is the standard "
        "deviation between seeds, where there are several. Others differ in what they were told and how they are "
        "scored: compare rows only where 2D input, root and camera agree, and see the last column. (q): quoted from a "
        "later publication, not read in its authors' own.",
        f"Energy score {summary.figures['energy score']:.1f} mm; ECE {summary.figures['ECE']:.3f}; "
        f"{', '.join(calibration)}.",
        "![Error against the number of hypotheses](best_of.png)",
        "![Calibration curve](calibration.png)",
        "## By action",
        _by(summary.by_action, "action", sizes),
        "![Error by action](actions.png)",
        "## By subject",
        _by(summary.by_subject, "subject", sizes),
        "## By joint\n\nMeans over frames, as are ECE and the curve.",
        markdown_table(("joint", "mean pose, mm", "best hypothesis, mm"), joints),
        "![Error by joint](joints.png)",
    ]
    return "\n\n".join(parts) + "\n"


def protocol_table() -> str:
    """List the protocols."""
    lines = [
        [
            f"`{name}`", p.title, f"{len(p.joints)}", " + ".join(p.root), f"{p.stride}",
            "actions" if p.by_action else "frames", ", ".join(p.exclude) or "-", p.defined_in,
        ]
        for name, p in PROTOCOLS.items()
    ]  # fmt: skip
    return markdown_table(
        ("protocol", "what", "joints", "root", "every n-th frame", "means over", "left out", "as in"), lines
    )
