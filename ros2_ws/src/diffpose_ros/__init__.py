# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""ROS 2 nodes of diffpose: convert, guard, call ``diffpose_core``, publish."""
