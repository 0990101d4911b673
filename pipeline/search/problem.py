"""What a search is about: a trained network, its data and the firmware that must hold the result."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import fx

from pipeline.firmware.budget import kmodel_budget
from pipeline.firmware.profile import Profile
from pipeline.network.contract import InputContract
from pipeline.network.lower import to_onnx
from pipeline.pruning.groups import Group, find_groups
from pipeline.pruning.importance import Importance, channel_importance
from pipeline.pruning.prune import narrowed
from pipeline.recipe import Recipe
from pipeline.search.space import Settings, Space, space_of
from pipeline.training.data.sets import Training


@dataclass(frozen=True)
class Problem:
    """A search before it begins. What is costly is worked out once, when it is first asked for.

    Attributes:
        recipe: what was asked for; its ``search`` is there.
        network: trained; not changed.
        contract: its input.
        data: training and validation images.
        profile: the firmware.
        version: of the kmodel.
        nncase: nncase's interpreter.
    """

    recipe: Recipe
    network: fx.GraphModule
    contract: InputContract
    data: Training
    profile: Profile
    version: int
    nncase: Path

    @cached_property
    def narrow(self) -> fx.GraphModule:
        """The network as ``prune`` has it before it chooses channels: none of its groups wider than the KPU counts."""
        return narrowed(self.network, self.data.train, self.contract, seed=self.recipe.seed).network

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Channels that can be pruned, as ``prune`` finds them."""
        return find_groups(self.narrow, self.contract.image)

    @cached_property
    def importance(self) -> Importance:
        """Of each group's channels."""
        method = self.recipe.prune.importance if self.recipe.prune else "group-l2"
        return channel_importance(self.narrow, self.groups, self.data.train, self.contract, method, self.recipe.seed)

    @cached_property
    def space(self) -> Space:
        """What may be chosen."""
        recipe = self.recipe
        base = Settings(recipe.prune, recipe.replace, recipe.quantise)
        return space_of(self.network, self.contract, self.groups, base, len(self.data.train))

    @cached_property
    def budget(self) -> int:
        """Bytes that the kmodel may have at most."""
        return kmodel_budget(self.profile, self.recipe.target)

    @cached_property
    def identity(self) -> str:
        """A hash of what a result depends on: space, network, data, target and how it is trained.

        Not of ``trials`` and ``min_accuracy``: more trials go on with the same study.
        """
        recipe = self.recipe
        assert recipe.search is not None
        digest = hashlib.sha256(self.space.identity.encode())
        digest.update(to_onnx(self.network, self.contract).SerializeToString(deterministic=True))
        for images in (self.data.train, self.data.validation):
            digest.update(_hash(images.images) + _hash(images.labels))
        search = recipe.search
        how = (search.objectives, search.rungs, search.effort)
        held = (recipe.seed, recipe.data, recipe.target, recipe.train, how)
        digest.update(repr((held, self.profile, self.version)).encode())
        return digest.hexdigest()

    def prepare(self) -> None:
        """Work out what is costly now, so that the first candidate is sized as fast as any other."""
        self.space.identity, self.importance  # noqa: B018 (kept once they are asked for)

    def channels_of(self, keep: Mapping[str, int]) -> dict[str, int]:
        """Return how many channels go from each group that keeps as many as ``keep`` says."""
        return {group.name: group.channels - keep.get(group.name, group.channels) for group in self.groups}


def _hash(values: NDArray[np.generic]) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).digest()
