# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Subscriptions and publishers that tell how they fare."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, qos_policy_name_from_kind
from rclpy.qos_overriding_options import QoSOverridingOptions

from diffpose_ros.topic_health import INPUT, OUTPUT, TopicHealth

try:
    from rclpy.event_handler import PublisherEventCallbacks as PublisherEventCallbacks
    from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks, UnsupportedEventTypeError


class Output:
    """A publisher that is silent while the node is not active, and counts what it publishes."""

    def __init__(self, node: LifecycleNode, kind: type, topic: str, qos: QoSProfile, steady: bool) -> None:
        self._node = node
        self.health = TopicHealth(node.resolve_topic_name(topic), OUTPUT, time.monotonic(), steady)
        events = PublisherEventCallbacks(incompatible_qos=lambda info: _incompatible(node, self.health, info))
        self._publisher = node.create_lifecycle_publisher(kind, topic, qos, event_callbacks=events)

    @property
    def topic_name(self) -> str:
        """The topic, resolved."""
        return self.health.name

    def publish(self, message: Any) -> None:
        """Publish if the node is active."""
        if self._publisher.is_activated:
            self._publisher.publish(message)
            self.health.seen(time.monotonic())

    def get_subscription_count(self) -> int:
        """Return how many listen."""
        return int(self._publisher.get_subscription_count())

    def destroy(self) -> None:
        """Destroy the publisher."""
        self._node.destroy_lifecycle_publisher(self._publisher)


class Input:
    """A subscription whose QoS can be overridden, and that counts what comes and what does not."""

    def __init__(
        self, node: LifecycleNode, kind: type, topic: str, callback: Callable[[Any], None], qos: QoSProfile,
        steady: bool,
    ) -> None:  # fmt: skip
        self._node = node
        self.health = TopicHealth(node.resolve_topic_name(topic), INPUT, time.monotonic(), steady)

        def on_message(message: Any) -> None:
            self.health.seen(time.monotonic())
            callback(message)

        def create(**events: Callable[[Any], None]) -> Any:
            return node.create_subscription(
                kind, topic, on_message, copy.copy(qos),  # a copy: rclpy writes the overrides into the profile
                event_callbacks=SubscriptionEventCallbacks(**events),
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )  # fmt: skip

        try:
            self._subscription = create(incompatible_qos=self._on_incompatible, message_lost=self._on_lost)
        except UnsupportedEventTypeError:  # not every middleware knows of lost messages
            self._subscription = create(incompatible_qos=self._on_incompatible)

    def destroy(self) -> None:
        """Destroy the subscription."""
        self._node.destroy_subscription(self._subscription)

    def _on_incompatible(self, info: Any) -> None:
        _incompatible(self._node, self.health, info)

    def _on_lost(self, info: Any) -> None:
        self.health.lost += info.total_count_change


def _incompatible(node: LifecycleNode, health: TopicHealth, info: Any) -> None:
    policy = qos_policy_name_from_kind(info.last_policy_kind).lower()
    health.incompatible[policy] += info.total_count_change
    other = "publisher offers" if health.direction == INPUT else "subscriber asks for"
    node.get_logger().error(f"{health.name}: a {other} a QoS that does not fit this node's: {policy}")
