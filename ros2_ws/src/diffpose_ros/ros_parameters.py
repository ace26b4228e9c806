# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The frozen dataclasses of ``parameters`` on a node: declared with their ranges, changed as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, fields, replace
from typing import Any, TypeVar

from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from diffpose_ros.parameters import START, UNCONFIGURED, Parameters

P = TypeVar("P", bound=Parameters)


def declare(node: Node, kind: type[P]) -> P:
    """Declare the parameters on a node, with their ranges, and return their checked values.

    Raises:
        ValueError: naming a parameter with a wrong type or range.
    """
    values = {}
    for item in fields(kind):
        try:
            values[item.name] = node.declare_parameter(item.name, item.default, _descriptor(item)).value
        except InvalidParameterTypeException as error:
            raise ValueError(f"parameter {item.name} has the wrong type: {error}") from error
        except InvalidParameterValueException as error:
            raise ValueError(str(error)) from error
    return kind(**_as_fields(kind, values))


def changed(current: P, changes: Mapping[str, Any], configured: bool) -> P:
    """Return the parameters with changes; names that are none of them are other parts' own and are passed over.

    Args:
        current: what holds now.
        changes: values by name.
        configured: the node is inactive or active: what is read at configuring must stay.

    Raises:
        ValueError: why the change is refused.
    """
    known = _as_fields(type(current), changes)
    for item in fields(current):
        kept = known.get(item.name, getattr(current, item.name)) == getattr(current, item.name)
        if configured and item.metadata["when"] == UNCONFIGURED and not kept:
            raise ValueError(f"parameter {item.name} is read when the node is configured: clean it up first")
    return replace(current, **known)


def check_type(message: ParameterMessage) -> None:
    """Check that a parameter's type exists: rclpy itself does so too late.

    Raises:
        ValueError: naming the parameter and the number.
    """
    known = sorted(kind.value for kind in Parameter.Type)
    if message.value.type not in known:
        raise ValueError(f"parameter {message.name}: type must be one of {known}, got {message.value.type}")


def refusal(request: Any, response: Any, reason: str) -> Any:
    """Fill the response to a request that nothing was done of; return it."""
    result = SetParametersResult(successful=False, reason=reason)
    if isinstance(response, SetParameters.Response):
        response.results = [result for _ in request.parameters]
    elif isinstance(response, SetParametersAtomically.Response):
        response.result = result
    elif isinstance(response, ChangeState.Response):
        response.success = False
    return response


def _as_fields(kind: type[Parameters], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that are of this kind; ROS gives arrays as lists."""
    defaults = {item.name: item.default for item in fields(kind)}
    return {
        name: tuple(value) if isinstance(defaults[name], tuple) else value
        for name, value in values.items()
        if name in defaults
    }


def _descriptor(item: Field[Any]) -> ParameterDescriptor:
    low, high, unit, when = (item.metadata[key] for key in ("low", "high", "unit", "when"))
    descriptor = ParameterDescriptor(description=item.metadata["doc"], read_only=when == START)
    descriptor.additional_constraints = f"{f'unit: {unit}; ' if unit else ''}can be set: {when}"
    if isinstance(item.default, float) and low is not None:
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    elif low is not None:
        descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
    return descriptor
