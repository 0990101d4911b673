"""Feeds mutated kmodels to the reader and prints what happened as JSON; run as a process of its own.

Usage: python fuzz_kmodel.py COUNT SEED FILE...
"""

from __future__ import annotations

import json
import random
import struct
import sys
import time
from collections import Counter
from pathlib import Path

from pipeline.errors import KmodelError
from pipeline.kmodel.canonical import canonical_v5
from pipeline.kmodel.identify import identify
from pipeline.kmodel.read import read
from pipeline.kmodel.transcode import transcode
from pipeline.kmodel.write import write

HUGE = (0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0x00010000, 0x01000000, 0)
HEADER_BYTES = 512


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Damage a file: bits flipped, words made huge, cut short, stretched, or pieces moved."""
    out = bytearray(data)
    reach = min(HEADER_BYTES, len(out)) if rng.random() < 0.6 else len(out)
    kind = rng.randrange(6)
    if kind in (0, 5):
        for _ in range(rng.randint(1, 16)):
            out[rng.randrange(reach)] ^= 1 << rng.randrange(8)
    elif kind == 1:
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(max(reach - 4, 1)) & ~3
            out[at : at + 4] = struct.pack("<I", rng.choice(HUGE))
    elif kind == 2:
        del out[rng.randrange(len(out)) :]
    elif kind == 3:
        at, size = rng.randrange(reach), rng.randint(1, 64)
        out[at:at] = rng.randbytes(size)
    else:
        source, target, size = rng.randrange(reach), rng.randrange(reach), rng.randint(1, 256)
        out[target : target + size] = out[source : source + size]
    if kind == 5:
        del out[rng.randrange(len(out)) :]
    return bytes(out)


def rewrite(data: bytes) -> None:
    """Read a file and write it again, or carry a v5 over."""
    model = read(data)
    if model.version == 5:
        transcode(model, 4, max_shift=20)
        transcode(model, 3)
    else:
        write(model)


def peak_kib() -> int:
    """The most memory this process had at once; unlike ``ru_maxrss`` not that of the process that started it."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def main() -> None:
    count, seed = int(sys.argv[1]), int(sys.argv[2])
    seeds = [Path(name).read_bytes() for name in sys.argv[3:]]
    # Smaller files more often: their damage hits structure rather than weights.
    weights = [1 / len(data) ** 0.5 for data in seeds]
    rng = random.Random(seed)
    for data in seeds:
        read(data)
    before = peak_kib()
    results: Counter[str] = Counter()
    slowest = 0.0
    unexpected: list[str] = []
    for number in range(count):
        damaged = mutate(rng.choices(seeds, weights)[0], rng)
        start = time.perf_counter()
        for name, function in (
            ("read", read),
            ("identify", identify),
            ("canonical", canonical_v5),
            ("rewrite", rewrite),
        ):
            try:
                function(damaged)
                results[f"{name} ok"] += 1
            except KmodelError:
                results[f"{name} refused"] += 1
            except Exception as error:
                unexpected.append(f"{number} {name}: {type(error).__name__}: {error}")
        slowest = max(slowest, time.perf_counter() - start)
    peak = peak_kib()
    report = {"results": results, "unexpected": unexpected[:20], "slowest_s": slowest, "peak_mib": peak // 1024}
    print(json.dumps({**report, "grown_mib": (peak - before) // 1024}))


if __name__ == "__main__":
    main()
