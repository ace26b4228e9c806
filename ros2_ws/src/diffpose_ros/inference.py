# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""What the nodes that infer 3D poses share: the estimator, the topics of the results, completion on request."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

import torch
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.qos import QoSProfile
from rclpy.task import Future
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from diffpose.msg import Hypotheses, SkeletonDefinition
from diffpose.srv import Complete
from diffpose_core import COCO17, H36M17, Camera, Heatmaps, PoseEstimator, PosePosterior, PosePrior, SamplerConfig
from diffpose_core.budget import Effort, TimeBudget
from diffpose_core.sampler import FUSED
from diffpose_core.temporal import TemporalFilter
from diffpose_ros.completion import completion_from_request
from diffpose_ros.conversions import hypotheses_message, skeleton_message
from diffpose_ros.parameters import EstimatorParameters, FusionParameters
from diffpose_ros.runtime import LATCHED, RESULTS, WorkerNode, choose_device, nanoseconds, reliability, set_threads

WARM_UP_PERSONS, WARM_UP_SKELETONS = 8, 2000
"""Inferred before the first frame: so many people, or fewer where so many hypotheses are wanted."""

P = TypeVar("P", bound=EstimatorParameters)
T = TypeVar("T")


def wait_period_s(p: EstimatorParameters) -> float:
    """Seconds between looks at what was waited for long enough."""
    return max(p.sync_wait_s / 4, 0.01)


class InferenceNode(WorkerNode[P]):
    """Publishes ``human_pose3d/hypotheses`` and ``human_pose3d/skeleton``; serves ``human_pose3d/complete``.

    Requests are answered on a thread of their own. Images and requests share one estimator: they wait for each other.
    """

    def __init__(self, kind: type[P]) -> None:
        super().__init__(kind)
        self._estimator: PoseEstimator | None = None
        self._service: Any = None
        self._estimating = threading.Lock()
        self._answering: ThreadPoolExecutor | None = None
        self.over_time = TemporalFilter()
        self.work: tuple[Any, ...] = ()

    @property
    def estimator(self) -> PoseEstimator:
        """Of the configured node."""
        assert self._estimator is not None
        return self._estimator

    def configure(self) -> None:
        """Load the prior, run the estimator once, advertise."""
        p = self.parameters
        device = choose_device(self, p.device)
        threads = set_threads(p.num_threads)
        prior = PosePrior.from_pretrained(p.prior or None, p.prior_sha256 or None)
        base = FUSED if p.use_depth or isinstance(p, FusionParameters) else SamplerConfig()
        self._estimator = PoseEstimator(prior, device, replace(base, precision=p.precision))
        self.health.facts |= {
            "device": device, "threads": str(threads), "prior": p.prior or "packaged", "prior_sha256": prior.sha256,
            "precision": p.precision, "use_depth": str(p.use_depth).lower(),
        }  # fmt: skip
        self.on_parameters()
        self._warm_up()
        self.publisher = self.advertise(Hypotheses, "human_pose3d/hypotheses", RESULTS)
        self.skeleton_publisher = self.advertise(SkeletonDefinition, "human_pose3d/skeleton", LATCHED, steady=False)

    def on_parameters(self) -> None:
        """Sample as is wanted now."""
        p = self.parameters
        self.estimator.sampler = replace(self.estimator.sampler, guidance=p.guidance, steps=p.steps, repeats=p.repeats)
        self.health.facts |= {
            name: str(getattr(p, name)) for name in ("guidance", "steps", "repeats", "num_hypotheses", "seed")
        }
        work = p.time_budget_s, p.steps, p.num_hypotheses, p.guidance, p.repeats
        if work != self.work:  # else what was measured holds still
            self.work, self.budget = work, TimeBudget(p.time_budget_s, p.steps, p.num_hypotheses)
        self.health.facts |= {"temporal": str(p.temporal).lower(), "time_budget_s": str(p.time_budget_s)}
        if not p.temporal:
            self.over_time = TemporalFilter()

    def forget(self) -> int:
        """Let go of who was seen."""
        self.over_time = TemporalFilter()
        return 0

    def activate(self) -> None:
        """Tell the skeleton and serve completions."""
        super().activate()
        self.skeleton_publisher.publish(skeleton_message(H36M17))
        self._answering = ThreadPoolExecutor(1, "completion")
        # A group of its own: while a completion takes its time, heatmaps must be received. rclpy's executor with
        # several threads is not for that: it left heatmaps lying for a second now and then (Jazzy).
        self._service = self.create_service(
            Complete, "human_pose3d/complete", self.on_complete, callback_group=MutuallyExclusiveCallbackGroup()
        )

    def deactivate(self) -> None:
        """Serve no more completions."""
        super().deactivate()
        if self._answering is not None:
            self._answering.shutdown(cancel_futures=True)
        if self._service is not None:
            self.destroy_service(self._service)
        self._answering = self._service = None

    def cleanup(self) -> None:
        """Let go of the prior."""
        with self._estimating:
            self._estimator = None

    def _warm_up(self) -> None:
        """Run once before the first frame: the first inference of a process takes seconds.

        Of more people than are usual: memory is taken at once that would be taken in steps over hours.
        """
        n = max(1, min(WARM_UP_PERSONS, WARM_UP_SKELETONS // self.parameters.num_hypotheses))
        pixels = 100 + 200 * torch.rand(n, len(COCO17), 2, generator=torch.Generator().manual_seed(0))
        covariances = 25 * torch.eye(2).expand(n, len(COCO17), 2, 2)
        still = Heatmaps.from_keypoints(pixels, covariances, torch.ones(n, len(COCO17)))
        self.estimator(still, Camera.from_field_of_view(640, 480), self.parameters.num_hypotheses)

    def subscribe_depth(self, topic: str, callback: Callable[[Image], None]) -> None:
        """Subscribe a depth image with the reliability of the parameters."""
        qos = QoSProfile(depth=5, reliability=reliability(self.parameters.depth_reliability))
        self.subscribe(Image, topic, callback, qos)

    def depth_is_sound(self, message: Image) -> bool:
        """Whether the stamp of a depth image can be true; if not, say so."""
        if reason := self.unsound(nanoseconds(message.header.stamp)):
            self.health.degraded("depth image refused", reason)
        return not reason

    def wanted(self) -> bool:
        """Whether somebody listens to the hypotheses."""
        return self.publisher.get_subscription_count() > 0

    def estimate(self, infer: Callable[[torch.Generator], T], seed: int) -> T:
        """Call what uses the estimator, one at a time, with a generator of this seed."""
        with self._estimating:
            return infer(torch.Generator(self.estimator.device).manual_seed(seed))

    def in_time(self, persons: int, infer: Callable[[PoseEstimator, int, torch.Generator], T]) -> tuple[T, Effort]:
        """Infer so many persons with as many steps and hypotheses as there is time for.

        Args:
            persons: about how many; what is measured is told to the budget by them.
            infer: takes the estimator, the number of hypotheses and a generator.
        """
        budget = self.budget
        effort = budget.choose(persons)
        if effort.reduced:
            self.lacks("time budget", f"{effort.steps} steps, {effort.hypotheses} hypotheses")

        def measured(generator: torch.Generator) -> T:
            started_s = time.perf_counter()
            result = infer(self.estimator.with_steps(effort.steps), effort.hypotheses, generator)
            budget.record(persons, effort, time.perf_counter() - started_s)
            return result

        return self.estimate(measured, self.parameters.seed), effort

    def publish(
        self, posterior: PosePosterior, header: Header, ids: Sequence[int], scores: Sequence[float], effort: Effort
    ) -> None:
        """Publish and count the persons of one instant, given the earlier ones if wanted.

        The header's frame should stand still, as ``target_frame`` does: people do so there before a camera that moves.
        """
        if self.parameters.temporal:
            posterior = self.over_time(posterior, ids, 1e-9 * nanoseconds(header.stamp))
        result, missing = hypotheses_message(posterior, header, ids, scores)
        result.steps, result.reduced = effort.steps, effort.reduced
        self.check_time()
        self.publisher.publish(result)
        self.health.count("persons", len(result.persons))
        self.health.count("persons_missing", missing)

    async def on_complete(self, request: Complete.Request, response: Complete.Response) -> Complete.Response:
        """Complete the poses of a request, or say what is wrong with it; other callbacks go on meanwhile."""
        assert self._answering is not None
        answered = Future(executor=self.executor)

        def wake(_: object) -> None:
            answered.set_result(None)
            self.executor.wake()

        self._answering.submit(self._answer, request, response).add_done_callback(wake)
        await answered
        return response

    def _answer(self, request: Complete.Request, response: Complete.Response) -> None:
        try:
            response.hypotheses = self._complete(request)
        except Exception as error:  # whatever a request does, the node and the one who asks must hear of it
            bad = isinstance(error, ValueError)
            response.message = str(error) if bad else f"{type(error).__name__}: {error}"
            (self.health.completion_refused if bad else self.health.completion_failed)(response.message)
        else:
            response.success = True
            self.health.count("completions")

    def _complete(self, request: Complete.Request) -> Hypotheses:
        p = self.parameters
        wanted = completion_from_request(request, p.num_hypotheses)
        estimator = self.estimator.with_steps(p.steps)  # its settings stay while parameters change
        posterior = self.estimate(
            lambda generator: estimator.complete(
                wanted.joints, wanted.known, wanted.std, wanted.num_hypotheses, generator, wanted.root_relative
            ),
            request.seed,
        )
        persons = len(wanted.joints)
        result, _ = hypotheses_message(posterior, request.header, range(persons), [1.0] * persons)
        result.steps = estimator.sampler.steps
        return result
