"""What a bundle holds, before it is files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.bundle.member import Member
from pipeline.firmware.flash import FlashLayout
from pipeline.firmware.profile import Profile
from pipeline.firmware.verdict import Check
from pipeline.recipe import Target


@dataclass(frozen=True, eq=False)
class Bundle:
    """Models for one firmware, and how they are run there.

    Attributes:
        members: the models, in the order in which the button switches them.
        profile: the firmware.
        target: what else runs there, and where models are loaded from.
        together: whether all fit in memory at once; None where there is one.
        layout: where they lie in flash.
        firmware: the firmware's own file, which the package then writes too.
    """

    members: tuple[Member, ...]
    profile: Profile
    target: Target
    together: Check | None
    layout: FlashLayout
    firmware: bytes | None = None

    @property
    def keeps_loaded(self) -> bool:
        """Whether the program keeps every model that it has loaded, instead of one at a time."""
        return self.together is None or self.together.ok


def summary(bundle: Bundle) -> dict[str, Any]:
    """Return what ``bundle.json`` says: the models, their memory one at a time and together, and where they lie."""
    return {
        "firmware": bundle.profile.name,
        "load": bundle.target.load,
        "models": [
            {
                "name": member.name,
                "kmodel_version": member.kmodel.version,
                "kmodel_bytes": len(member.content),
                "needed_bytes": member.contract["memory"]["needed_bytes"],
                "limit_bytes": member.contract["memory"]["limit_bytes"],
                "flash_address": region.start,
            }
            for member, region in zip(bundle.members, bundle.layout.models, strict=True)
        ],
        "one_at_a_time": all(member.verdict.accepted for member in bundle.members),
        "together": bundle.together.to_json() if bundle.together else None,
        "loaded": "all at once" if bundle.keeps_loaded else "one at a time",
        "flash": [
            {"what": region.name, "start": region.start, "end": region.end}
            for region in sorted((*bundle.layout.others, *bundle.layout.models), key=lambda region: region.start)
        ],
    }
