# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
# For the PyPI wheels of ROS 2 only. They bake include paths of the machine they were built on into the exported
# targets of the Python generators; those headers are not needed, and CMake refuses paths that do not exist.
function(_ros_wheels_fix)
  get_property(targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  foreach(target ${targets})
    if(target MATCHES "__rosidl_generator_py$")
      set_property(TARGET ${target} PROPERTY INTERFACE_INCLUDE_DIRECTORIES "")
    endif()
  endforeach()
endfunction()
cmake_language(DEFER CALL _ros_wheels_fix)
