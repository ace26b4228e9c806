# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""RViz markers of a posterior: skeletons faded by weight, the mean, covariance ellipsoids."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from diffpose_core import PosePosterior
from diffpose_core.observation import OBSERVED

# Colours that colour-blind people tell apart: the person's left, right, centre; grey for what was not seen.
COLOURS = {"left": (0.0, 0.45, 0.7), "right": (0.84, 0.37, 0.0), "center": (0.9, 0.9, 0.9)}
INFERRED_COLOUR = (0.55, 0.55, 0.55)
MEAN_WIDTH_M, HYPOTHESIS_WIDTH_M, LABEL_HEIGHT_M, LABEL_DISTANCE_M = 0.02, 0.005, 0.12, 0.25
LIGHTEST, DARKEST = 0.04, 0.35


def quaternion(rotation: np.ndarray) -> tuple[float, float, float, float]:
    """Return x, y, z, w of a 3x3 rotation matrix."""
    m = rotation
    # The eigenvector of the largest eigenvalue of this matrix is the quaternion (Bar-Itzhack 2000), without cases.
    k = np.array(
        [
            [m[0, 0] - m[1, 1] - m[2, 2], 0, 0, 0],
            [m[0, 1] + m[1, 0], m[1, 1] - m[0, 0] - m[2, 2], 0, 0],
            [m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], m[2, 2] - m[0, 0] - m[1, 1], 0],
            [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], m[0, 0] + m[1, 1] + m[2, 2]],
        ]
    )
    x, y, z, w = np.linalg.eigh(k, UPLO="L")[1][:, -1]
    return float(x), float(y), float(z), float(w)


def _colour(rgb: tuple[float, float, float], alpha: float) -> ColorRGBA:
    return ColorRGBA(r=rgb[0], g=rgb[1], b=rgb[2], a=float(alpha))


def _point(xyz: np.ndarray) -> Point:
    return Point(x=float(xyz[0]), y=float(xyz[1]), z=float(xyz[2]))


class MarkerBuilder:
    """Turns posteriors into marker arrays; the arguments are those of the marker node's parameters."""

    def __init__(self, max_skeletons: int, ellipsoid_sigmas: float, lifetime_s: float) -> None:
        self.max_skeletons, self.sigmas, self.lifetime_s = max_skeletons, ellipsoid_sigmas, lifetime_s

    def __call__(self, posterior: PosePosterior, header: Header, ids: list[int], scores: list[float]) -> MarkerArray:
        """Return the markers of one image; the first one deletes those of the image before."""
        result = MarkerArray(markers=[Marker(header=header, action=Marker.DELETEALL)])
        joints, weights = posterior.joints.numpy(), posterior.weights.numpy()
        means, covariances = posterior.mean.numpy(), posterior.covariance.numpy()
        status = posterior.status.numpy()
        for p, person in enumerate(ids):
            seen = status[p] == OBSERVED
            result.markers.append(self._hypotheses(posterior, joints[p], weights[p], header, person))
            result.markers.append(self._mean(posterior, means[p], seen, header, person))
            result.markers += self._ellipsoids(posterior, means[p], covariances[p], seen, header, person)
            label = self._marker(header, "label", person, Marker.TEXT_VIEW_FACING, LABEL_HEIGHT_M)
            label.text = f"person {person}: {scores[p]:.2f}, {seen.sum()} of {len(seen)} joints seen"
            label.pose.position = _point(self._above_head(posterior, means[p]))
            label.color = _colour((1.0, 1.0, 1.0), 1.0)
            result.markers.append(label)
        return result

    @staticmethod
    def _above_head(posterior: PosePosterior, mean: np.ndarray) -> np.ndarray:
        """Return a point beyond the head, whichever axis of the frame is up."""
        head = mean[posterior.skeleton.index("HeadTop")]
        up = head - mean[0]
        return head + LABEL_DISTANCE_M * up / max(float(np.linalg.norm(up)), 1e-6)

    def _marker(self, header: Header, namespace: str, number: int, kind: int, size_m: float) -> Marker:
        marker = Marker(header=header, ns=namespace, id=number, type=kind, action=Marker.ADD)
        marker.pose.orientation.w = 1.0
        marker.scale.x = marker.scale.y = marker.scale.z = size_m
        marker.lifetime.sec, marker.lifetime.nanosec = int(self.lifetime_s), int(self.lifetime_s % 1 * 1e9)
        return marker

    def _hypotheses(
        self, posterior: PosePosterior, joints: np.ndarray, weights: np.ndarray, header: Header, person: int
    ) -> Marker:
        marker = self._marker(header, "hypotheses", person, Marker.LINE_LIST, HYPOTHESIS_WIDTH_M)
        for s in np.argsort(-weights, kind="stable")[: self.max_skeletons]:
            alpha = LIGHTEST + (DARKEST - LIGHTEST) * weights[s] / weights.max()
            for a, b in posterior.skeleton.edges:
                marker.points += [_point(joints[s, a]), _point(joints[s, b])]
                marker.colors += [_colour(COLOURS[posterior.skeleton.side(b)], alpha)] * 2
        return marker

    def _mean(
        self, posterior: PosePosterior, mean: np.ndarray, seen: np.ndarray, header: Header, person: int
    ) -> Marker:
        marker = self._marker(header, "mean", person, Marker.LINE_LIST, MEAN_WIDTH_M)
        for a, b in posterior.skeleton.edges:
            known = seen[a] and seen[b]
            rgb = COLOURS[posterior.skeleton.side(b)] if known else INFERRED_COLOUR
            ends = [mean[a], mean[b]]
            # A bone with an inferred end is dashed.
            cuts = [(0.0, 1.0)] if known else [(0.0, 0.2), (0.4, 0.6), (0.8, 1.0)]
            for start, stop in cuts:
                for t in (start, stop):
                    marker.points.append(_point((1 - t) * ends[0] + t * ends[1]))
                    marker.colors.append(_colour(rgb, 1.0))
        return marker

    def _ellipsoids(
        self, posterior: PosePosterior, mean: np.ndarray, covariance: np.ndarray, seen: np.ndarray,
        header: Header, person: int,
    ) -> list[Marker]:  # fmt: skip
        markers = []
        values, vectors = np.linalg.eigh(covariance)
        vectors[np.linalg.det(vectors) < 0] *= -1  # an odd dimension: all axes turned make it a rotation
        for j in range(len(mean)):
            rgb = COLOURS[posterior.skeleton.side(j)] if seen[j] else INFERRED_COLOUR
            marker = self._marker(header, "covariance", person * len(mean) + j, Marker.SPHERE, 0.0)
            marker.pose.position = _point(mean[j])
            o = marker.pose.orientation
            o.x, o.y, o.z, o.w = quaternion(vectors[j])
            marker.scale.x, marker.scale.y, marker.scale.z = (float(2 * self.sigmas * v**0.5) for v in values[j])
            marker.color = _colour(rgb, 0.25 if seen[j] else 0.12)
            markers.append(marker)
        return markers
