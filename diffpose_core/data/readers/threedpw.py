"""3DPW (von Marcard et al., "Recovering Accurate 3D Human Pose in The Wild Using IMUs and a Moving Camera", 2018).

Layout, units and the camera's direction: the release's readme and the public code of nkolot/SPIN, mkocabas/VIBE and
isarandi/posepile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffpose_core.camera import Camera
from diffpose_core.data.prepared import Description, Recording, View
from diffpose_core.data.readers import smpl
from diffpose_core.data.readers.mocap import MOST_HZ, stride, z_up
from diffpose_core.data.readers.pickles import load_arrays_pickle
from diffpose_core.skeleton import H36M17

SPLITS = ("train", "validation", "test")
FRAME_RATE_HZ = 30.0
JOINTS = 24
KEYPOINTS = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "right_eye", "left_eye",
    "right_ear", "left_ear",
)  # fmt: skip
"""Of ``poses2d``: OpenPose's 18 of COCO."""
IMAGE_SIDES_PX = (1080, 1920)
NOSE_M = (0.0, 0.04, 0.13)
HEAD_TOP_M = (0.0, 0.17, 0.02)
"""From SMPL's joint of the head, which lies between the ears, to the left, up and forward along the head: chosen by
hand after an adult's head, 13 cm from the ear's opening to the top."""
_HEAD = (0, 3, 6, 9, 12, 15)
_OFF_CENTRE = 0.1
_MIX = {
    "Pelvis": ("left_hip", "right_hip"),
    "RHip": ("right_hip",), "RKnee": ("right_knee",), "RAnkle": ("right_ankle",),
    "LHip": ("left_hip",), "LKnee": ("left_knee",), "LAnkle": ("left_ankle",),
    "Thorax": ("left_shoulder", "right_shoulder"), "Nose": ("nose",),
    "LShoulder": ("left_shoulder",), "LElbow": ("left_elbow",), "LWrist": ("left_wrist",),
    "RShoulder": ("right_shoulder",), "RElbow": ("right_elbow",), "RWrist": ("right_wrist",),
}  # fmt: skip
_MADE = 0.5
