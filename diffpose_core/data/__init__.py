"""Motion capture, its augmentation, and synthetic scenes made of it."""

from diffpose_core.data.augment import AugmentConfig, augment, camera_rotation
from diffpose_core.data.mocap import MocapSet, load_mocap
from diffpose_core.data.synthetic import SCENARIOS, SyntheticConfig, SyntheticScene, synthesize

__all__ = [
    "SCENARIOS",
    "AugmentConfig",
    "MocapSet",
    "SyntheticConfig",
    "SyntheticScene",
    "augment",
    "camera_rotation",
    "load_mocap",
    "synthesize",
]
