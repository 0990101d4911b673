"""Applying rules to a graph: matched layers out, chains in, until no rule applies any more."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import fx, nn

from pipeline.errors import NetworkError
from pipeline.network.contract import InputContract
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site

_MOST_ROUNDS = 20


@dataclass(frozen=True)
class Candidate:
    """A replacement that could be made."""

    rule: Rule
    site: Site
    match: Match
    built: Built

    @property
    def layer(self) -> str:
        """Name of the layer that the rule was asked about."""
        return str(self.site.node.target)


@dataclass(frozen=True)
class Choice:
    """What becomes of a layer that rules match.

    Attributes:
        taken: the replacement to make, its chain's weights final; None leaves the layer as it is, for good.
        passed_over: the rules not taken, and why.
    """

    taken: Candidate | None
    passed_over: tuple[tuple[Rule, str], ...] = ()


Choose = Callable[[Sequence[Candidate]], Choice]
"""Called with every replacement of a layer that could be made, in the order of the rules."""

Placed = Callable[[str, fx.GraphModule], None]
"""Called with a replaced layer's name and the network, once its chain is in."""


@dataclass(frozen=True)
class Step:
    """One rule asked about one layer.

    Attributes:
        layer: its name.
        rule: the rule.
        taken: whether it was applied.
        why: what was found, or why the rule does not apply.
        becomes: the names of the layers put there.
    """

    layer: str
    rule: Rule
    taken: bool
    why: str
    becomes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rewritten:
    """A network after some rules.

    Attributes:
        network: weights that no rule touched are shared with the network it came from.
        contract: its input.
        steps: what was tried, in the order of trial; for each layer and rule that it was applied, else its last
            answer before any was.
    """

    network: fx.GraphModule
    contract: InputContract | None
    steps: tuple[Step, ...]


@dataclass
class _Log:
    steps: dict[tuple[str, str], Step] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    replaced: set[str] = field(default_factory=set)

    def add(self, step: Step) -> None:
        key = (step.layer, step.rule.name)
        if key not in self.steps or step.taken or step.layer not in self.replaced:
            self.steps[key] = step
        if step.taken:
            self.replaced.add(step.layer)


def rewrite(
    network: fx.GraphModule,
    contract: InputContract | None,
    rules: Sequence[Rule],
    choose: Choose | None = None,
    placed: Placed | None = None,
    prefer: Mapping[str, Rule] | None = None,
) -> Rewritten:
    """Apply ``rules`` until none matches; ``network`` is not changed.

    Args:
        network: modules called by a graph, as ``to_torch`` gives it.
        contract: its input; None asks for structure alone (rules that need it do not apply).
        rules: earlier ones are asked first.
        choose: picks one of the rules that match a layer, and gives a learned chain its weights; without it the
            first of them is taken.
        placed: called after each replacement.
        prefer: for a layer's name, the rule that alone may replace it where it matches (asked for or not).

    Raises:
        NetworkError: rules undo each other and never come to an end.
    """
    network = share(network)
    log = _Log()
    original = {str(node.target) for node in network.graph.nodes}
    for _ in range(_MOST_ROUNDS):
        contract, changed = _round(network, contract, rules, choose, placed, log, original, prefer or {})
        if not changed:
            network.graph.lint()
            network.delete_all_unused_submodules()
            network.recompile()
            return Rewritten(network, contract, tuple(log.steps.values()))
    raise NetworkError(
        "the replacement rules do not come to an end", where=", ".join(sorted({s.layer for s in log.steps.values()}))
    )


def share(network: fx.GraphModule) -> fx.GraphModule:
    """Return a copy of the graph whose modules are those of ``network`` themselves."""
    shared = fx.GraphModule(network, copy.deepcopy(network.graph), class_name="Network")
    shared.training = network.training
    return shared


def _round(
    network: fx.GraphModule,
    contract: InputContract | None,
    rules: Sequence[Rule],
    choose: Choose | None,
    placed: Placed | None,
    log: _Log,
    original: set[str],
    prefer: Mapping[str, Rule],
) -> tuple[InputContract | None, bool]:
    """Ask every rule about every layer once; return the contract then, and whether anything was replaced."""
    changed = False
    gone: set[fx.Node] = set()
    for node in list(network.graph.nodes):
        if node.op != "call_module" or node in gone:
            continue
        site = Site(network, node, contract)
        layer = str(node.target)
        candidates = []
        asked = _asked(site, rules, prefer, log, layer in original) if layer not in log.kept else ()
        for rule in asked:
            answer = rule.match(site)
            if isinstance(answer, Match):
                candidates.append(Candidate(rule, site, answer, rule.build(site, answer)))
                if choose is None:
                    break
            elif layer in original:
                log.add(Step(layer, rule, False, answer.reason))
        if not candidates:
            continue
        choice = Choice(candidates[0]) if choose is None else choose(candidates)
        for rule, why in choice.passed_over:
            log.add(Step(layer, rule, False, why))
        taken = choice.taken
        if taken is None:
            log.kept.add(layer)
            continue
        names = splice(network, taken.match.nodes, taken.built.chain)
        log.add(Step(layer, taken.rule, True, taken.match.found, names))
        if taken.rule.resamples:
            _forget_shapes(network)
        if placed is not None:
            network.recompile()
            placed(layer, network)
        gone.update(taken.match.nodes)
        contract, changed = taken.built.contract or contract, True
    return contract, changed


def _asked(
    site: Site, rules: Sequence[Rule], prefer: Mapping[str, Rule], log: _Log, is_original: bool
) -> Sequence[Rule]:
    """Return the rules for a layer of this kind; where the one preferred there matches, no other."""
    layer, module = str(site.node.target), site.module()
    concerned = [rule for rule in rules if isinstance(module, rule.concerns)]
    preferred = prefer.get(layer)
    if preferred is None or not isinstance(module, preferred.concerns) or isinstance(preferred.match(site), Miss):
        return concerned
    for rule in concerned:
        if rule is not preferred and is_original:
            log.add(Step(layer, rule, False, f"{preferred.name} is preferred here (replace.prefer)"))
    return [rule for rule in concerned if rule is preferred]


def splice(network: fx.GraphModule, nodes: Sequence[fx.Node], chain: nn.Sequential) -> tuple[str, ...]:
    """Put ``chain`` in the place of ``nodes``, in place; return the names of its layers.

    The last layer of the chain takes the name of the last node that it replaces, so that a layer can be followed by
    its name through any number of replacements; those before it are called after it and their name in the chain.
    """
    last = nodes[-1]
    made = nodes[0].all_input_nodes[0]
    kept = str(last.target) if _callers(network, str(last.target)) == 1 else _free(network, f"{last.target}_replaced")
    layers = list(chain.named_children())
    targets = []
    with network.graph.inserting_before(nodes[0]):
        for index, (suffix, layer) in enumerate(layers):
            target = kept if index == len(layers) - 1 else _free(network, f"{last.target}_{suffix}")
            layer.train(network.training)
            network.add_submodule(target, layer)
            made = network.graph.create_node("call_module", target, (made,))
            targets.append(target)
    last.replace_all_uses_with(made)
    for node in reversed(nodes):
        network.graph.erase_node(node)
    return tuple(targets)


def _forget_shapes(network: fx.GraphModule) -> None:
    """Drop the shapes that rules have noted."""
    for node in network.graph.nodes:
        node.meta.pop("tensor_meta", None)


def _callers(network: fx.GraphModule, target: str) -> int:
    return sum(node.op == "call_module" and node.target == target for node in network.graph.nodes)


def _free(network: fx.GraphModule, name: str) -> str:
    taken = {name for name, _ in network.named_modules()} | {name for name, _ in network.named_buffers()}
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free
