"""What a replacement rule is.

A rule looks at one layer and answers with a ``Match`` (the layers it would replace) or a ``Miss`` (why it cannot).
Only then is it asked to *build* the chain of layers that takes their place. Matching never changes anything, building
never decides anything: so a plan, a report and the replacement itself come from the same code.

The life of a rule: ``match`` → ``build`` → the chain is spliced in (``rewrite``) → for a learned rule ``initialise``
sets its weights from the replaced layers' own inputs and outputs, ``regression`` refines them, and ``apply`` distils
the whole network and measures what it cost. An exact rule's weights are final once built.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from pipeline.network.contract import InputContract
from pipeline.training.modes import evaluating


@dataclass(frozen=True)
class Site:
    """A layer in its network, as a rule sees it.

    Attributes:
        network: the whole network; a rule must not change it, nor any module in it.
        node: the layer, a ``call_module`` node.
        contract: the network's input, or None where a rule is asked for structure alone.
    """

    network: fx.GraphModule
    node: fx.Node
    contract: InputContract | None

    def module(self, node: fx.Node | None = None) -> nn.Module | None:
        """Return the module of ``node`` (default: of the layer itself), or None if it calls none."""
        node = self.node if node is None else node
        return self.network.get_submodule(str(node.target)) if node.op == "call_module" else None

    def before(self, node: fx.Node | None = None) -> fx.Node | None:
        """Return the only node that ``node`` reads."""
        read = (self.node if node is None else node).all_input_nodes
        return read[0] if len(read) == 1 else None

    def after(self, node: fx.Node | None = None) -> fx.Node | None:
        """Return the only node that reads ``node``, or None if there are several."""
        users = list((self.node if node is None else node).users)
        return users[0] if len(users) == 1 else None

    def shape(self, node: fx.Node) -> tuple[int, ...] | None:
        """Return the shape of what ``node`` gives, without the batch; None without a contract.

        One blank image is run, and what it shows noted at the nodes: `rewrite` forgets it where a rule resamples.
        """
        if self.contract is None:
            return None
        if "tensor_meta" not in node.meta:
            with evaluating(self.network), torch.no_grad():
                ShapeProp(self.network).propagate(torch.zeros(1, *self.contract.image))
        return tuple(int(side) for side in node.meta["tensor_meta"].shape[1:])

    def size(self, node: fx.Node) -> tuple[int, int] | None:
        """Return height and width of what ``node`` gives; None without a contract."""
        shape = self.shape(node)
        return None if shape is None else (shape[1], shape[2])


@dataclass(frozen=True)
class Match:
    """What a rule would replace.

    Attributes:
        nodes: in order; the first reads the only input, the last gives the only output, nothing else is read outside.
        found: what was seen, for the report: "5×5, 32→64, stride 1".
    """

    nodes: tuple[fx.Node, ...]
    found: str


@dataclass(frozen=True)
class Miss:
    """Why a rule does not apply to a layer, as a sentence without a full stop."""

    reason: str


@dataclass(frozen=True)
class Built:
    """What takes the place of a match.

    Attributes:
        chain: the layers, in order; empty to leave the match out altogether. Fresh modules that share no weights with
            the network. A learned chain's convolutions are zero until initialised.
        contract: the network's new input, where the rule changes it.
    """

    chain: nn.Sequential
    contract: InputContract | None = None


@dataclass(frozen=True)
class Rule:
    """A replacement.

    Attributes:
        name: what reports call it.
        kind: exact (same outputs) or learned (fitted to the same outputs).
        concerns: the types of module that ``match`` is asked about.
        matches: what it replaces, in words.
        becomes: what it puts there, in words.
        why: what the KPU or nncase would do otherwise.
        source: where that is known from.
        match: whether it applies to a layer.
        build: makes the replacement of a match.
        initialise: for a learned rule: sets the weights of ``chain`` from the match's inputs and outputs
            (N×C×H×W, over calibration images) and a seed.
        inexact: for an exact rule: where its outputs may yet differ; apply then measures by how much.
        resamples: whether its chain gives a map of another size, so that nothing is to be fitted to the outputs of
            what it replaces.
    """

    name: str
    kind: Literal["exact", "learned"]
    concerns: tuple[type[nn.Module], ...]
    matches: str
    becomes: str
    why: str
    source: str
    match: Callable[[Site], Match | Miss]
    build: Callable[[Site, Match], Built]
    initialise: Callable[[Site, Match, nn.Sequential, Tensor, Tensor, int], None] | None = None
    inexact: str = ""
    resamples: bool = False
