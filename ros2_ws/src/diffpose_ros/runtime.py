# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""What all nodes share: newest input only, no input kills the node, a clear end."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import rclpy
from builtin_interfaces.msg import Time as TimeMessage
from rclpy.exceptions import InvalidHandle
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions

from diffpose_ros.clocks import BACKWARDS, steady
from diffpose_ros.endpoints import Input
from diffpose_ros.managed import DEACTIVATED, ManagedNode
from diffpose_ros.parameters import InputParameters, LazyParameters
from diffpose_ros.signals import stop_on
from diffpose_ros.stamps import CLOCK_SET_BACK, BadStamp, PassedOver, check_stamp

STOP_POLL_S = 0.2
LISTENERS_S = 0.2
"""How often a lazy node looks whether somebody listens."""
NOBODY = "nobody listens"
MOST_IN_A_ROW = 10
"""Callbacks that may fail one after the other: then it is not they that are broken."""

P = TypeVar("P", bound=InputParameters)
T = TypeVar("T")

RESULTS = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
"""Deep enough that the middleware does not drop in silence what the node would drop and count."""
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class NewestOnly(Generic[T]):
    """A thread that works on the newest item; an item that it could not begin with before the next came is dropped."""

    def __init__(self, work: Callable[[T], None], on_drop: Callable[[], None]) -> None:
        self._work, self._on_drop = work, on_drop
        self._wake = threading.Condition()
        self._items: list[T] = []
        self._closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def offer(self, item: T) -> None:
        """Hand over an item; return at once."""
        with self._wake:
            stale = bool(self._items)
            self._items = [item]
            self._wake.notify()
        if stale:
            self._on_drop()

    def clear(self) -> int:
        """Let go of an item that could not be begun with yet; return how many, 0 or 1."""
        with self._wake:
            waiting, self._items = len(self._items), []
        return waiting

    def close(self) -> int:
        """Finish the item in work, then stop; return how many items were left, 0 or 1."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()
        return len(self._items)

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: bool(self._items) or self._closed)
                if self._closed:
                    return
                item = self._items.pop()
            self._work(item)


class WorkerNode(ManagedNode[P]):
    """A managed node that turns inputs into outputs on a thread of its own.

    Subclasses subscribe, pass inputs to :meth:`offer` and implement :meth:`process`. When the clock is set back (a
    recording is played again) what waits is dropped.
    """

    def __init__(self, kind: type[P]) -> None:
        super().__init__(kind)
        self._worker: NewestOnly[tuple[int, int, Any]] | None = None
        self._listening: list[Input] = []
        self._stamp_ns = self._number_of_jumps = self._jumps_before = 0
        self._lacking: list[tuple[str, str]] = []
        self._jumps = self.get_clock().create_jump_callback(BACKWARDS, post_callback=lambda _: self._on_jump())

    def activate(self) -> None:
        """Start the thread."""
        self._worker = NewestOnly(
            self._guarded, lambda: self.health.dropped("a newer one came before it could be begun with")
        )
        self._listen()  # at once: what is wrong with a subscription must fail here, not when somebody wants results
        if isinstance(self.parameters, LazyParameters) and self.parameters.lazy:
            self.every(LISTENERS_S, self._on_listeners, steady())
            self._on_listeners()

    def listen(self) -> None:
        """Subscribe the inputs: when activated, or as soon as somebody wants the results of a lazy node."""
        raise NotImplementedError

    def wanted(self) -> bool:
        """Whether somebody listens to the results."""
        return True

    def deactivate(self) -> None:
        """Finish what is in work; drop what waits."""
        if self._worker is not None:
            self.drop(self._worker.close() + self.forget(), DEACTIVATED)
        self._worker = None
        self._listening = []
        self.health.idle = ""

    def forget(self) -> int:
        """Let go of inputs that wait for others and of what is known from earlier ones; return how many waited."""
        return 0

    def drop(self, number: int, reason: str) -> None:
        """Count inputs that are passed over."""
        for _ in range(number):
            self.health.dropped(reason)

    def process(self, item: Any) -> TimeMessage:
        """Do the work and publish it; return the stamp of the image it came from.

        Raises:
            ValueError: the input is bad; it is counted as refused.
            PassedOver: its time is over; it is counted as dropped.
        """
        raise NotImplementedError

    def done(self, item: Any) -> None:
        """Called when an input is done with, whatever became of it and before the next is taken."""

    def check_time(self) -> None:
        """Call before publishing: the work took its time, and the process may even have stood still meanwhile.

        Raises:
            PassedOver: the clock was set back since the input was offered, or that is older than the limit now.
        """
        if self._number_of_jumps != self._jumps_before:
            raise PassedOver(CLOCK_SET_BACK)
        check_stamp(self._stamp_ns, self.now_ns(), self.parameters.max_age_s)

    def lacks(self, reason: str, detail: str = "") -> None:
        """What :meth:`process` makes of its input is less than it should be; counted when it was published."""
        self._lacking.append((reason, detail))

    def offer(self, item: Any, stamp_ns: int) -> None:
        """Pass an input that was already counted as received to the worker; while active only."""
        assert self._worker is not None
        self._worker.offer((stamp_ns, self._number_of_jumps, item))

    def unsound(self, stamp_ns: int) -> str:
        """Say what is wrong with a stamp; empty: nothing. One from the future must not reach what waits by stamps."""
        try:
            check_stamp(stamp_ns, self.now_ns(), 0.0)
        except BadStamp as error:
            return str(error)
        return ""

    def _listen(self) -> None:
        before = len(self.inputs)
        self.listen()
        self._listening = self.inputs[before:]

    def _on_listeners(self) -> None:
        assert self._worker is not None
        wanted = self.wanted()
        if wanted and not self._listening:
            self.health.wake()
            self._listen()
        elif not wanted and self._listening:
            for subscribed in self._listening:
                self.unsubscribe(subscribed)
            self._listening = []
            self.drop(self._worker.clear() + self.forget(), NOBODY)
        if not wanted:
            self.health.idle = NOBODY

    def _on_jump(self) -> None:
        self._number_of_jumps += 1
        if self._worker is not None:
            self.drop(self._worker.clear() + self.forget(), CLOCK_SET_BACK)

    def _guarded(self, offered: tuple[int, int, Any]) -> None:
        self._stamp_ns, self._jumps_before, item = offered
        self._lacking = []
        try:
            self.check_time()
            stamp = self.process(item)
        except PassedOver as error:
            self.health.dropped(str(error))
        except ValueError as error:
            self.health.refused(str(error))
        except Exception as error:  # the node must outlive anything one input does to it
            self.health.failed(f"{type(error).__name__}: {error}")
            self.get_logger().debug(traceback.format_exc())
        else:
            for reason, detail in self._lacking:
                self.health.degraded(reason, detail)
            self.health.processed((self.now_ns() - nanoseconds(stamp)) * 1e-9)
        try:
            self.done(item)
        except Exception as error:  # nor may this end the thread: the node would take inputs and do nothing
            self.health.stumbled(f"{type(error).__name__}: {error}")


def reliability(name: str) -> ReliabilityPolicy:
    """Return the policy of a parameter's value."""
    return {"best_effort": ReliabilityPolicy.BEST_EFFORT, "reliable": ReliabilityPolicy.RELIABLE}[name]


def nanoseconds(stamp: TimeMessage) -> int:
    """Return a stamp as one number."""
    return int(stamp.sec * 10**9 + stamp.nanosec)


def choose_device(node: Node, device: str) -> str:
    """Resolve ``auto`` and say what was taken; any other device is taken or refused by the library."""
    import torch

    if device != "auto":
        return device
    found = "cuda" if torch.cuda.is_available() else "cpu"
    name = torch.cuda.get_device_name() if found == "cuda" else "no CUDA device was found; this is slow"
    (node.get_logger().info if found == "cuda" else node.get_logger().warning)(f"device auto: {found} ({name})")
    return found


def set_threads(num_threads: int) -> int:
    """Limit torch's CPU threads; two nodes that both use every core wait for each other most of the time."""
    import torch

    torch.set_num_threads(num_threads or max(1, (os.cpu_count() or 2) // 2))
    return torch.get_num_threads()


def run(create: Callable[[], ManagedNode[Any]]) -> int:
    """Run a node until it is told to stop; return the exit status.

    A wrong parameter ends the process with 1. A node that autostart cannot configure stays, unconfigured, and says
    why in the log and in the diagnostics: it can be mended and configured; with ``exit_on_error`` it ends with 1.

    Args:
        create: makes the node.
    """
    # rclpy's own handlers close the context at once, under the worker's hands.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    stop = stop_on((signal.SIGINT, signal.SIGTERM))
    try:
        node = create()
    except (ValueError, OSError, ImportError) as error:
        rclpy.logging.get_logger("diffpose").fatal(f"cannot start: {error}")
        sys.stdout.flush()
        # The half-made node's threads still run; tearing the interpreter down under them can crash it.
        os._exit(1)
    failed = not node.autostart() and node.parameters.exit_on_error
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    in_a_row = 0
    while not (stop or failed):
        try:
            executor.spin_once(timeout_sec=STOP_POLL_S)
            in_a_row = 0
        except InvalidHandle:
            # A request was answered on what a transition had destroyed: nobody is there to hear it.
            node.get_logger().debug("a callback outlived its service")
        except ExternalShutdownException:
            raise
        except Exception as error:  # one message that rclpy itself cannot bear, such as a time before 0 on /clock
            in_a_row += 1
            # If it failed while it was taken, no other callback would ever be called again.
            if in_a_row > MOST_IN_A_ROW or not node.default_callback_group.can_execute(node.health.timer):
                raise
            node.health.stumbled(f"{type(error).__name__}: {error}")
    # It ends already: a second signal, while the interpreter is torn down, must not make that an error.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    node.close()
    rclpy.shutdown()
    return 1 if failed else 0
