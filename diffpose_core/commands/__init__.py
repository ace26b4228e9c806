"""What the ``diffpose`` command does without ROS: complete poses, generate poses."""
