"""Motion capture, its augmentation, and synthetic scenes made of it."""

from diffpose_core.data.augment import AugmentConfig, augment, camera_rotation
from diffpose_core.data.mixture import PoseMixture
from diffpose_core.data.mocap import MocapSet, load_mocap, load_splits
from diffpose_core.data.synthetic import SCENARIOS, SyntheticConfig, SyntheticScene, synthesize

__all__ = [
    "SCENARIOS",
    "AugmentConfig",
    "MocapSet",
    "PoseMixture",
    "SyntheticConfig",
    "SyntheticScene",
    "augment",
    "camera_rotation",
    "load_mocap",
    "load_splits",
    "synthesize",
]
