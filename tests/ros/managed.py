# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""A node's services: its transitions and its parameters."""

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter

CONFIGURE, CLEANUP = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_CLEANUP
ACTIVATE, DEACTIVATE = Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE


class Managed:
    """One node, by its services."""

    def __init__(self, client, name):
        self.client, self.name = client, name

    def change(self, transition):
        request = ChangeState.Request(transition=Transition(id=transition))
        return self.client.call(ChangeState, f"/{self.name}/change_state", request).success

    @property
    def state(self):
        return self.client.call(GetState, f"/{self.name}/get_state", GetState.Request()).current_state.label

    def set(self, **values):
        """Set parameters, one after the other; return the reasons, empty where the value was taken."""
        messages = [
            ParameterMessage(name=n, value=Parameter(n, value=v).get_parameter_value()) for n, v in values.items()
        ]
        request = SetParameters.Request(parameters=messages)
        return [r.reason for r in self.client.call(SetParameters, f"/{self.name}/set_parameters", request).results]

    def told(self, words, level):
        """The diagnostics say so."""
        health = self.client.health
        self.client.wait(
            lambda: words in health[self.name]["message"] and health[self.name]["level"] == level, f"{words} {level}"
        )
