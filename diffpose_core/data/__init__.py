
from diffpose_core.data.augment import AugmentConfig, augment, camera_rotation
from diffpose_core.data.mocap import MocapSet, load_mocap

__all__ = ["AugmentConfig", "MocapSet", "augment", "camera_rotation", "load_mocap"]
