# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The main job on two real photographs: the nodes as processes, recorded, drawn and checked.

    python -m diffpose_ros.demo --out demo_out

Exit status 1 if any stage failed or a check did not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rosbags.highlevel import AnyReader

from diffpose_core import COCO17, Camera, Heatmaps, PosePosterior
from diffpose_core.detector import demo_photographs
from diffpose_core.observation import VISIBLE
from diffpose_core.viz import draw_hypotheses_3d, draw_overlay
from diffpose_ros.conversions import heatmaps_from_message, posterior_from_message
from diffpose_ros.graph import NodeEntry, Value, environment, nodes
from diffpose_ros.images import decode_image
from diffpose_ros.processes import Processes
from diffpose_ros.recorder import Recorder
from diffpose_ros.sources import FrameSource

START_S, RUN_S, QUIET_S = 120.0, 180.0, 2.5
FOV_DEG, RATE_HZ = 60.0, 5.0
MAX_REPROJECTION = 0.05
"""Largest median distance of the mean pose from the keypoints, as a share of the person's box height."""


class StageError(RuntimeError):
    """A stage of the demonstration failed."""


def say(text: str) -> None:
    """Report progress."""
    print(f"demo: {text}", flush=True)


def wait_until(condition: Any, processes: Processes, limit_s: float, what: str) -> None:
    """Wait for a condition while all nodes live.

    Raises:
        StageError: the time is over, or a node ended.
    """
    end = time.monotonic() + limit_s
    while not condition():
        if processes.ended():
            raise StageError(f"a node ended while waiting for {what}: {processes.ended()}; see the logs")
        if time.monotonic() > end:
            raise StageError(f"waited {limit_s:g} s for {what}; see the logs")
        time.sleep(0.1)


COUNTERS = ("received", "processed", "dropped", "refused", "failed")


class Settled:
    """True once the source has ended, every input that came is accounted for, and nothing has moved for a while."""

    def __init__(self, health: dict[str, dict[str, str]]) -> None:
        self._health, self._last, self._since = health, "", time.monotonic()

    def __call__(self) -> bool:
        """Whether the graph has come to rest."""
        count = {node: {k: int(values[k]) for k in COUNTERS} for node, values in self._health.items()}
        if str(count) != self._last:
            self._last, self._since = str(count), time.monotonic()
        ended = "(ended)" in self._health.get("camera_node", {}).get("source", "")
        done = all(c["received"] == sum(c[k] for k in COUNTERS[1:]) for c in count.values())
        return ended and done and time.monotonic() - self._since > QUIET_S


def run_graph(out: Path, hypotheses: int, frames: int, prefix: Path) -> tuple[Recorder, dict[str, int]]:
    """Run the nodes on the photographs; return what was recorded and the nodes' exit statuses."""
    photographs = demo_photographs()["bus"].parent
    processes = Processes(prefix, out / "logs")
    os.environ.update(environment(processes.share, os.environ))  # the recorder receives images too
    recorder = Recorder(out / "recording", processes.share)
    try:
        entries = nodes(
            {"num_hypotheses": str(hypotheses), "device": "auto", "source": str(photographs)}, processes.share
        )
        for entry in entries[:-1]:
            if entry.executable == "diffusion_node":  # nobody of one photograph is in another
                entry.parameters["temporal"] = False
            processes.start(entry)
        say("detector, diffusion and marker nodes are starting")
        names = [e.executable for e in entries[:-1]]
        wait_until(lambda: all(n in recorder.health for n in names), processes, START_S, "the nodes' first diagnostics")
        say(f"camera node: each photograph for {frames} frames at {RATE_HZ:g} Hz")
        camera = entries[-1]
        still: dict[str, Value] = {
            "frames_per_image": frames,
            "loop": False,
            "rate_hz": RATE_HZ,
            "horizontal_fov_deg": FOV_DEG,
        }
        processes.start(NodeEntry(camera.executable, "", camera.params_file, camera.parameters | still, camera.remaps))
        wait_until(Settled(recorder.health), processes, RUN_S, "the last hypotheses")
    finally:
        statuses = processes.stop()
        recorder.close()
    return recorder, statuses


def last_of_each(recorder: Recorder) -> dict[str, tuple[Any, Any, Any]]:
    """Return the last image, heatmaps and hypotheses of every photograph that have the same stamp."""
    known = {name: FrameSource(str(path), 1, loop=False).read() for name, path in demo_photographs().items()}
    found = {}
    images, heatmaps = recorder.messages["/image_raw"], recorder.messages["/human_pose2d/heatmaps"]
    for stamp, hypotheses in sorted(recorder.messages["/human_pose3d/hypotheses"].items()):
        if stamp in images and stamp in heatmaps:
            pixels = decode_image(images[stamp])
            for name, photograph in known.items():
                if photograph is not None and np.array_equal(pixels, photograph):
                    found[name] = (images[stamp], heatmaps[stamp], hypotheses)
    return found


def measure(posterior: PosePosterior, camera: Camera, message: Any) -> list[dict[str, Any]]:
    """Return the figures of every person, from the messages alone."""
    rows = []
    projected = posterior.reproject(camera, COCO17)
    for p, person in enumerate(message.persons):
        keypoints = torch.tensor(person.keypoints).reshape(-1, 2)
        visible = torch.tensor(person.visibility) >= VISIBLE
        height = float(person.box[3] - person.box[1])
        share = (projected[p] - keypoints).norm(dim=-1)[visible].median() / height if visible.any() else None
        depth = posterior.joints[p, :, 0, 2]
        rows.append(
            {
                "id": person.id, "score": round(float(person.score), 3), "joints_visible": int(visible.sum()),
                "reprojection_median_of_box": None if share is None else round(float(share), 4),
                "root_depth_m": round(float(posterior.mean[p, 0, 2]), 3),
                "root_depth_sd_m": round(float(depth.std()), 3),
                "joint_sd_m": round(float(posterior.covariance[p].diagonal(dim1=-2, dim2=-1).sum(-1).sqrt().mean()), 3),
            }
        )  # fmt: skip
    return rows


def check(posterior: PosePosterior, persons: list[dict[str, Any]], name: str) -> list[str]:
    """Return what does not hold of one photograph's result."""
    wrong = []
    if not torch.allclose(posterior.weights.sum(-1), torch.ones(len(posterior)), atol=1e-3):
        wrong.append(f"{name}: weights do not sum to 1")
    if torch.linalg.eigvalsh(posterior.covariance).min() <= 0:
        wrong.append(f"{name}: a covariance is not positive definite")
    for row in persons:
        if row["joints_visible"] > len(COCO17) / 2 and row["reprojection_median_of_box"] >= MAX_REPROJECTION:
            wrong.append(
                f"{name}: person {row['id']} reprojects {row['reprojection_median_of_box']:.1%} of the box off"
            )
    return wrong


def draw(
    name: str, image: Any, heat: Heatmaps, camera: Camera, message: Any, posterior: PosePosterior, out: Path
) -> None:
    """Write the pictures of one photograph."""

    def stacked(field: str, *shape: int) -> torch.Tensor:
        return torch.stack([torch.tensor(getattr(p, field)).reshape(shape) for p in message.persons])

    draw_overlay(
        decode_image(image), stacked("box", 4), stacked("keypoints", -1, 2), stacked("visibility", -1), heat, posterior,
        camera, out / f"{name}_overlay.png",
    )  # fmt: skip
    draw_hypotheses_3d(
        posterior, out / f"{name}_3d.png", title=f"{name}: {posterior.joints.shape[1]} hypotheses per person"
    )


def count_recorded(folder: Path) -> dict[str, int]:
    """Read the recording back and count its messages."""
    with AnyReader([folder]) as reader:
        counts: dict[str, int] = {}
        for connection, _, data in reader.messages():
            reader.deserialize(data, connection.msgtype)
            counts[connection.topic] = counts.get(connection.topic, 0) + 1
    return counts


def table(summary: dict[str, Any]) -> str:
    """Return the summary as text."""
    lines = ["node        received  processed  dropped  refused  failed  latency p50 / p99 from image stamp, s"]
    for node, h in summary["nodes"].items():
        lines.append(
            f"{node.removesuffix('_node'):10s} {h['received']:>9}{h['processed']:>11}{h['dropped']:>9}{h['refused']:>9}"
            f"{h['failed']:>8}  {h['latency_p50_s']} / {h['latency_p99_s']}"
        )
    lines += ["", "photograph  person  score  visible  reprojection  root depth, m   mean joint sd, m"]
    for name, rows in summary["photographs"].items():
        for r in rows:
            share = "-" if r["reprojection_median_of_box"] is None else f"{r['reprojection_median_of_box']:.1%}"
            lines.append(
                f"{name:10s} {r['id']:>7}{r['score']:>7.2f}{r['joints_visible']:>9}{share:>14}"
                f"{r['root_depth_m']:>9.2f} ± {r['root_depth_sd_m']:.2f}{r['joint_sd_m']:>12.2f}"
            )
    return "\n".join(lines)


def run(out: Path, hypotheses: int, frames: int, prefix: Path) -> list[str]:
    """Run all stages; return what does not hold."""
    shutil.rmtree(out, ignore_errors=True)
    (out / "logs").mkdir(parents=True)
    recorder, statuses = run_graph(out, hypotheses, frames, prefix)
    say(f"the nodes have ended; {sum(recorder.counts.values())} messages recorded")
    wrong = [f"{node} ended with status {status}" for node, status in statuses.items() if status]
    found = last_of_each(recorder)
    wrong += [f"no hypotheses for the photograph {name}" for name in demo_photographs() if name not in found]
    photographs = {}
    for name, (image, heat_message, message) in found.items():
        say(f"drawing {name}")
        heat, camera = heatmaps_from_message(heat_message)
        posterior = posterior_from_message(message)
        photographs[name] = measure(posterior, camera, heat_message)
        wrong += check(posterior, photographs[name], name)
        draw(name, image, heat, camera, heat_message, posterior, out)
    recorded = count_recorded(out / "recording")
    if recorded != {topic: n for topic, n in recorder.counts.items() if n}:
        wrong.append(f"the recording holds {recorded}, but {recorder.counts} were written")
    health = {node: recorder.health[node] for node in sorted(recorder.health)}
    wrong += [
        f"{node}: {h[k]} {k}: {h['last_complaint']}"
        for node, h in health.items()
        for k in ("refused", "failed")
        if h[k] != "0"
    ]
    published = int(health["camera_node"]["processed"])
    summary = {
        "frames_published": published, "frames_not_received": published - int(health["detector_node"]["received"]),
        "hypotheses": hypotheses, "photographs": photographs, "nodes": health,
        "recorded": recorded, "failures": wrong, "guessed_field_of_view_deg": FOV_DEG,
        "machine": {"python": platform.python_version(), "platform": platform.platform(), "torch": torch.__version__},
        "note": "dropped: a newer input came before work on this one began; latency is from image stamp to publish",
    }  # fmt: skip
    (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    (out / "table.txt").write_text(table(summary) + "\n")
    print("\n" + table(summary) + "\n")
    return wrong


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("demo_out"), help="folder of the results; it is replaced")
    parser.add_argument("--hypotheses", type=int, default=50, help="skeletons per person")
    parser.add_argument("--frames", type=int, default=12, help="frames that each photograph is held for")
    parser.add_argument("--prefix", type=Path, default=Path(sys.prefix), help="where the ROS package is installed")
    args = parser.parse_args()
    try:
        wrong = run(args.out, args.hypotheses, args.frames, args.prefix)
    except StageError as error:
        wrong = [str(error)]
    for text in wrong:
        print(f"demo: FAILED: {text}", file=sys.stderr)
    if not wrong:
        say(f"done. Look at {args.out}/bus_overlay.png and bus_3d.png, then summary.json; recording/ opens in Foxglove")
        say("next: source .venv/bin/activate; diffpose run source:=/dev/video0 (README.md)")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
