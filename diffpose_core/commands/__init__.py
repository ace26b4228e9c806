# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""What the ``diffpose`` command does without ROS: complete poses, generate poses."""
