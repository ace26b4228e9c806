# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""The life of a node: unconfigured, inactive, active; parameters that change while it lives (docs/lifecycle.md)."""

from __future__ import annotations

import gc
import os
import traceback
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile

from diffpose_ros import middleware
from diffpose_ros.clocks import steady
from diffpose_ros.endpoints import Input, Output
from diffpose_ros.health import Health
from diffpose_ros.parameters import Parameters
from diffpose_ros.ros_parameters import changed, check_type, declare, refusal

P = TypeVar("P", bound=Parameters)
UNCONFIGURED, INACTIVE, ACTIVE, FINALIZED = "unconfigured", "inactive", "active", "finalized"
DEACTIVATED = "deactivated"
"""Why what waited was dropped."""
RESERVE_BYTES = 24 * 2**20
"""Of memory beyond what configuring takes; below the size from which memory goes back at once (graph.environment)."""


class ManagedNode(LifecycleNode, Generic[P]):  # type: ignore[misc]  # rclpy has no types
    """A managed node with checked parameters and diagnostics.

    A subclass implements :meth:`configure` and :meth:`activate`, and, where there is something to let go of,
    :meth:`deactivate` and :meth:`cleanup`. Diagnostics are published in every state; what :meth:`advertise` returns
    publishes while active only.

    Raises:
        ValueError: a parameter has a wrong type or range.
    """

    parameters: P
    """What holds now; replaced as a whole, so take it once per input."""

    def __init__(self, kind: type[P]) -> None:
        super().__init__(kind.node)
        self.state = UNCONFIGURED
        self.parameters = declare(self, kind)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        rmw = rclpy.get_rmw_implementation_identifier()
        profile = middleware.profile(rmw, os.environ)
        if wrong := middleware.shortcoming(rmw, profile):
            self.get_logger().warning(" -> ".join(wrong))
        self.health = Health(self, {"rmw": rmw, "rmw_profile": profile})
        self._outputs: list[Output] = []
        self.inputs: list[Input] = []
        self._timers_made: list[Any] = []
        for service in self.services:
            service.callback = self._refusing(service.srv_name, service.callback)

    def now_ns(self) -> int:
        """Time on the node's clock, nanoseconds."""
        return int(self.get_clock().now().nanoseconds)

    def configure(self) -> None:
        """Read the parameters, load models, advertise.

        Raises:
            Exception: any; its text is the reason that is reported, and the node stays unconfigured.
        """

    def activate(self) -> None:
        """Subscribe and begin; undone by itself where it was made with :meth:`subscribe` and :meth:`every`."""

    def deactivate(self) -> None:
        """Count what still waits as dropped; nothing arrives any more."""

    def cleanup(self) -> None:
        """Let go of what :meth:`configure` made; it may have come half-way only."""

    def on_parameters(self) -> None:
        """Take over what may change at any time; called after :meth:`configure` and after every change."""

    def advertise(self, kind: type, topic: str, qos: QoSProfile, steady: bool = True) -> Output:
        """Return a publisher that is silent while the node is not active, and goes when it is cleaned up.

        Args:
            kind: of the messages.
            topic: its name.
            qos: its profile.
            steady: it publishes again and again; false: once may be enough.
        """
        output = Output(self, kind, topic, qos, steady)
        self._outputs.append(output)
        self.health.watch(output.health)
        return output

    def subscribe(
        self, kind: type, topic: str, callback: Callable[[Any], None], qos: QoSProfile, steady: bool = True
    ) -> Input:
        """Subscribe until the node is deactivated; ``qos_overrides.<topic>.subscription.*`` change the profile.

        Args:
            kind: of the messages.
            topic: its name.
            callback: takes a message.
            qos: its profile.
            steady: messages keep coming; false, e.g. for a latched topic: one is enough.
        """
        subscribed = Input(self, kind, topic, callback, qos, steady)
        self.inputs.append(subscribed)
        self.health.watch(subscribed.health)
        return subscribed

    def unsubscribe(self, subscribed: Input) -> None:
        """Subscribe no more."""
        self.inputs.remove(subscribed)
        self.health.unwatch(subscribed.health)
        subscribed.destroy()

    def every(self, period_s: float, callback: Callable[[], None], clock: Clock | None = None) -> Any:
        """Call back again and again until the node is deactivated.

        Args:
            period_s: seconds on the clock.
            callback: is called.
            clock: None: that of /clock with ``use_sim_time``, else one that never jumps. A timer on the system's clock
                would stand still, after that is set back, for as long as it was.
        """
        if clock is None and not self.get_clock().ros_time_is_active:
            clock = steady()
        timer = self.create_timer(period_s, callback, clock=clock)
        self._timers_made.append(timer)
        return timer

    def repeat(self, timer: Any, period_s: float) -> None:
        """Call back at another period from now on."""
        period_ns = round(1e9 * period_s)
        if timer.timer_period_ns != period_ns and not timer.is_canceled():
            timer.timer_period_ns = period_ns
            timer.reset()  # or the old period would end first

    def autostart(self) -> bool:
        """Configure and activate, if the parameters say so; return whether nothing went wrong."""
        if not self.parameters.autostart:
            self.get_logger().info("unconfigured: autostart is false")
            return True
        wanted = TransitionCallbackReturn.SUCCESS
        return self.trigger_configure() == wanted and self.trigger_activate() == wanted

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Configure, or stay unconfigured and say why."""
        # Held while the networks are tried, so that it comes on top of what they take, and written, so that it is
        # there: more messages than ever before at the same time find memory in it, hours later as in the first second.
        reserve = b"\1" * RESERVE_BYTES
        try:
            self.configure()
            self.on_parameters()
        except Exception as error:  # damaged files raise anything; the node must stay to be mended
            self._release()
            return self._cannot("configure", error)
        del reserve
        # What stays is looked through no more: that takes a tenth of a second, in the midst of some frame.
        gc.collect()
        gc.freeze()
        self.health.mended()
        self.state = INACTIVE
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Activate, or stay inactive and say why."""
        self.health.restart()
        super().on_activate(state)  # publishers first: what arrives at once can be answered
        try:
            self.activate()
        except Exception as error:
            self._silence(state)
            return self._cannot("activate", error)
        self.health.mended()
        self.state = ACTIVE
        self.get_logger().info(f"ready: {self.health.facts}")
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Finish the input in work and drop those that wait."""
        return self._leave("deactivate", INACTIVE, lambda: self._silence(state))

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything that configuring made."""

        def clean_up() -> None:
            self._release()
            self.health.mended()

        return self._leave("clean up", UNCONFIGURED, clean_up)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Deactivate and clean up, whatever the state."""

        def shut_down() -> None:
            if self.state == ACTIVE:
                self._silence(state)
            self._release()

        return self._leave("shut down", FINALIZED, shut_down)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After an error in a transition: release everything; unconfigured then, or finalized where that fails, too."""
        try:
            self._silence(state)
            self._release()
        except Exception as error:
            self.state = FINALIZED
            return self._cannot("recover", error)
        self.state = UNCONFIGURED
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        """Shut down from any state and destroy the node."""
        if self.state != FINALIZED:
            self.trigger_shutdown()
        self.destroy_node()

    def _leave(self, what: str, to: str, undo: Callable[[], None]) -> TransitionCallbackReturn:
        """Undo a state; where that fails, say why."""
        try:
            undo()
        except Exception as error:
            return self._cannot(what, error, TransitionCallbackReturn.ERROR)
        self.state = to
        return TransitionCallbackReturn.SUCCESS

    def _silence(self, state: LifecycleState) -> None:
        for subscribed in list(self.inputs):
            self.unsubscribe(subscribed)
        for timer in self._timers_made:
            self.destroy_timer(timer)
        self._timers_made = []
        self.deactivate()
        super().on_deactivate(state)

    def _release(self) -> None:
        self.cleanup()
        for output in self._outputs:
            self.health.unwatch(output.health)
            output.destroy()
        self._outputs = []
        self.health.forget()
        gc.unfreeze()

    def _cannot(
        self, what: str, error: Exception, result: TransitionCallbackReturn = TransitionCallbackReturn.FAILURE
    ) -> TransitionCallbackReturn:
        known = isinstance(error, (ValueError, OSError, ImportError))
        reason = f"cannot {what}: {error if known else f'{type(error).__name__}: {error}'}"
        self.get_logger().fatal(reason)
        self.get_logger().debug("".join(traceback.format_exception(error)))
        self.health.broken(reason)
        return result

    def _on_set_parameters(self, wanted: list[Parameter]) -> SetParametersResult:
        try:
            self.parameters = changed(
                self.parameters, {p.name: p.value for p in wanted}, self.state in (INACTIVE, ACTIVE)
            )
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if self.state in (INACTIVE, ACTIVE):
            self.on_parameters()
        return SetParametersResult(successful=True)

    def _refusing(self, name: str, callback: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """Refuse requests that rclpy raises at, such as a transition that the state does not have: it ends the node."""

        def answer(request: Any, response: Any) -> Any:
            try:
                for parameter in getattr(request, "parameters", ()):
                    check_type(parameter)  # of all before any is set
                return callback(request, response)
            except (RuntimeError, ValueError) as error:
                self.get_logger().error(f"refused a request of {name} in state {self.state}: {error}")
                return refusal(request, response, str(error))

        return answer
