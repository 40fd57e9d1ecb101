"""A farm of actors, each with a ComfyUI on a GPU of its own, event by event.

The driver hands out one job after the other, each to an actor that is free. An actor whose process, ComfyUI or machine is lost
starts anew and loads its models; its job goes to the front of the queue, or is given up when it was tried ``retries + 1`` times.
"""

import heapq
import math
import random
from collections import deque
from dataclasses import dataclass, field

ACTOR, COMFYUI, MACHINE = "actor", "ComfyUI", "machine"


@dataclass(frozen=True)
class Setting:
    """What a farm meets. Times in seconds, losses per hour and actor, shares of all cards or jobs from 0 to 1.

    Args:
        clip: a job on a card that is not slow.
        dispatch: what the driver does for a job, one after the other.
        head: until the first actor can start.
        start: an actor with its ComfyUI, least and most; ``comfyui_start`` after the loss of ComfyUI alone.
        load: the models from the machine's own disk; ``fetch`` on a machine that has not got them yet.
        machines: mean time until a machine comes, at the beginning and in place of a lost one; 0 is at once.
        slow_cards: share of cards that take ``slow_card`` times as long; ``slow_jobs`` and ``slow_job`` likewise.
        refused: share of jobs that the server refuses within a second.
        deadly: share of jobs that kill ComfyUI every time, at some moment of theirs.
        retries: how often a job is tried again whose actor was lost.
    """

    clip: float = 20.0
    dispatch: float = 0.016
    head: float = 14.3
    start: tuple[float, float] = (16.0, 37.0)
    comfyui_start: tuple[float, float] = (50.0, 50.0)
    load: float = 10.0
    fetch: float = 10.0
    machines: float = 0.0
    actor_losses: float = 0.0
    comfyui_losses: float = 0.0
    machine_losses: float = 0.0
    slow_cards: float = 0.0
    slow_card: float = 1.0
    slow_jobs: float = 0.0
    slow_job: float = 1.0
    refused: float = 0.0
    deadly: float = 0.0
    retries: int = 2


def waste(losses: float, clip: float, start: float) -> float:
    """Share of the GPU time that makes no clip, of an actor that is never out of work, for losses per hour.

    Losses come at any moment (exponential) with rate r: an attempt lasts ``(1 - exp(-r clip)) / r`` and succeeds with
    ``exp(-r clip)``, a start that may itself be lost lasts ``(exp(r start) - 1) / r``. So the share is
    ``1 - r clip exp(-r start) / (exp(r clip) - 1)``, which is about ``r (start + clip / 2)``.
    """
    rate = losses / 3600
    return 1 - rate * clip * math.exp(-rate * start) / math.expm1(rate * clip) if rate else 0.0


@dataclass
class Result:
    """What came of a run: `seconds` in whole, and GPU seconds by what they went into.

    Args:
        made: job and moment, in that order.
        failed: jobs that were refused or given up.
        times: of each clip, from being handed out for the first time until it was made.
        losses: how many actors were lost, by cause.
        held: GPU seconds that machines were there; ``clips + starts + lost + waiting``.
    """

    seconds: float = 0.0
    made: list[tuple[int, float]] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    losses: dict[str, int] = field(default_factory=lambda: {ACTOR: 0, COMFYUI: 0, MACHINE: 0})
    held: float = 0.0
    clips: float = 0.0
    starts: float = 0.0
    lost: float = 0.0
    waiting: float = 0.0

    @property
    def per_hour(self) -> float:
        """Clips per hour, from the start of the command to its end."""
        return 3600 * len(self.made) / self.seconds

    @property
    def waste(self) -> float:
        """Share of the GPU time that made no clip."""
        return 1 - self.clips / self.held

    def time(self, share: float) -> float:
        """Time that this share of the clips took at most, each from being handed out first."""
        ordered = sorted(self.times)
        return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]

    @property
    def last(self) -> float:
        """How long the last 1 % of the clips took: from the moment when 99 % were made."""
        return self.made[-1][1] - self.made[max(math.ceil(0.99 * len(self.made)) - 1, 0)][1]


@dataclass
class Actor:
    """A GPU and what it does: `phase` since `since`, until the event with number `due`; `ends` with `cause` if nothing stops it."""

    phase: str = "away"
    since: float = 0.0
    due: int = 0
    there: float = 0.0
    ends: float = math.inf
    cause: str = ACTOR
    slow: float = 1.0
    job: int = -1


class Farm:
    """One run. The same numbers and seed give the same result, on every machine."""

    def __init__(self, setting: Setting, actors: int, jobs: int, seed: int) -> None:
        self.told, self.random, self.result = setting, random.Random(seed), Result()
        self.actors = [Actor() for _ in range(actors)]
        self.queue, self.idle, self.events = deque(range(jobs)), [], []
        self.jobs, self.tries, self.first = jobs, [0] * jobs, [0.0] * jobs
        self.driver, self.count = 0.0, 0
        self.kinds = [self.drawn(setting) for _ in range(jobs)]
        losses = {ACTOR: setting.actor_losses, COMFYUI: setting.comfyui_losses, MACHINE: setting.machine_losses}
        self.losses = {cause: each / 3600 for cause, each in losses.items() if each}

    def drawn(self, told: Setting) -> str:
        """What kind of job the next one is."""
        found = self.random.random()
        for kind, share in (("refused", told.refused), ("deadly", told.deadly), ("slow", told.slow_jobs)):
            if found < share:
                return kind
            found -= share
        return "good"

    def run(self) -> Result:
        """Until every job is made or failed."""
        now, result = 0.0, self.result
        for actor in self.actors:
            self.plan(actor, self.machine(), self.arrive)
        while len(result.made) + len(result.failed) < self.jobs:
            now, number, actor, then = heapq.heappop(self.events)
            if number == actor.due:
                then(actor, now)
        for actor in self.actors:
            self.book(actor, now)
            if actor.phase != "away":
                result.held += now - actor.there
        result.seconds = now
        return result

    def machine(self) -> float:
        """How long one takes to come."""
        return self.random.expovariate(1 / self.told.machines) if self.told.machines else 0.0

    def plan(self, actor: Actor, moment: float, then) -> None:
        """Let this be the next that happens to an actor, unless it is lost before."""
        if actor.ends < moment:
            moment, then = actor.ends, self.lose
        self.count += 1
        actor.due = self.count
        if moment < math.inf:
            heapq.heappush(self.events, (moment, self.count, actor, then))

    def arrive(self, actor: Actor, now: float) -> None:
        """A machine is there, with a card that is slow or not and without models."""
        actor.there = now
        actor.slow = self.told.slow_card if self.random.random() < self.told.slow_cards else 1.0
        self.begin(actor, now, max(self.told.head - now, 0.0) + self.random.uniform(*self.told.start) + self.told.fetch)

    def begin(self, actor: Actor, now: float, takes: float) -> None:
        """Start an actor, with a life of its own."""
        actor.phase, actor.since, actor.ends = "starts", now, math.inf
        for cause, rate in self.losses.items():
            if (moment := now + self.random.expovariate(rate)) < actor.ends:
                actor.ends, actor.cause = moment, cause
        self.plan(actor, now + takes, self.free)

    def free(self, actor: Actor, now: float) -> None:
        """The next job, as soon as the driver has time for it."""
        self.book(actor, now)
        if not self.queue:
            actor.phase = "waiting"
            self.idle.append(actor)
            return self.plan(actor, math.inf, None)
        actor.job = job = self.queue.popleft()
        if not self.tries[job]:
            self.first[job] = now
        self.tries[job] += 1
        self.driver = max(self.driver, now) + self.told.dispatch
        actor.phase = "waiting"
        return self.plan(actor, self.driver, self.work)

    def work(self, actor: Actor, now: float) -> None:
        """A job begins on its GPU."""
        self.book(actor, now)
        kind, takes = self.kinds[actor.job], self.told.clip * actor.slow
        actor.phase, takes = "lost", takes * self.told.slow_job if kind == "slow" else takes  # until it is made
        if kind == "refused":
            return self.plan(actor, now + 1.0, self.refuse)
        if kind == "deadly" and (moment := now + takes * self.random.random()) < actor.ends:
            actor.ends, actor.cause = moment, COMFYUI
        return self.plan(actor, now + takes, self.make)

    def make(self, actor: Actor, now: float) -> None:
        """A clip is there."""
        actor.phase = "clips"
        self.result.made.append((actor.job, now))
        self.result.times.append(now - self.first[actor.job])
        actor.job = -1
        self.free(actor, now)

    def refuse(self, actor: Actor, now: float) -> None:
        """The server says no: a failure with its reason, and the actor goes on."""
        self.result.failed.append(actor.job)
        actor.job = -1
        self.free(actor, now)

    def lose(self, actor: Actor, now: float) -> None:
        """An actor is lost; what it had goes to the next free one, or is given up."""
        self.book(actor, now)
        self.result.losses[actor.cause] += 1
        job, actor.job = actor.job, -1
        if actor in self.idle:
            self.idle.remove(actor)
        if actor.cause == MACHINE:
            self.result.held += now - actor.there
            actor.phase, actor.ends = "away", math.inf
            self.plan(actor, now + self.machine(), self.arrive)
        else:
            start = self.told.start if actor.cause == ACTOR else self.told.comfyui_start
            self.begin(actor, now, self.random.uniform(*start) + self.told.load)
        if job >= 0 and self.tries[job] > self.told.retries:
            self.result.failed.append(job)
        elif job >= 0:
            self.queue.appendleft(job)
            if self.idle:
                self.free(self.idle.pop(), now)

    def book(self, actor: Actor, now: float) -> None:
        """Note what the time since the last event went into."""
        if actor.phase != "away":
            setattr(self.result, actor.phase, getattr(self.result, actor.phase) + now - actor.since)
        actor.since = now
