"""Which of the choices mattered.

PED-ANOVA (Watanabe et al., IJCAI 2023, in Optuna; for choices that are not always there, its condPED-ANOVA) compares
how a choice is spread over the best candidates and over all.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

_BEST = 5
"""Candidates that the best must count at least, as Optuna's documentation asks for."""
_SHARE = 0.1  # of all, that are the best; Optuna's default
_FEWEST = 3 * _BEST
"""Evaluated candidates below which the best would be much of all, and nothing can be said."""
_DIGITS = 4


def importances(study: optuna.Study, objectives: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the share of each choice in what came out, for ``accuracy`` and, where there are costs, for the ``front``.

    Args:
        study: a search's.
        objectives: of it, in order.

    Returns:
        For each, fractions by the choice's name, that sum to 1, the largest first. Nothing where there are too few
        candidates to say, or all choices were the same.
    """
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(trials) < _FEWEST:
        return {}
    evaluator = PedAnovaImportanceEvaluator(target_quantile=max(_SHARE, _BEST / len(trials)))
    place = list(objectives).index("accuracy")
    targets: dict[str, Callable[[FrozenTrial], float] | None] = {"accuracy": lambda trial: -float(trial.values[place])}
    if len(objectives) > 1:
        targets["front"] = None
    found = {}
    for name, target in targets.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that less is better, which is so, and that a choice was seldom asked for
            shares = get_param_importances(study, evaluator=evaluator, target=target, normalize=False)
        if whole := sum(shares.values()):
            found[name] = _sorted({choice: round(share / whole, _DIGITS) for choice, share in shares.items()})
    return found


def _sorted(shares: Mapping[str, float]) -> dict[str, float]:
    return dict(sorted(shares.items(), key=lambda each: (-each[1], each[0])))
