"""ROS 2 nodes of diffpose: convert, guard, call ``diffpose_core``, publish."""
