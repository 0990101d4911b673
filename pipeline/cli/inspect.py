"""``kpufit inspect``: what a kmodel is."""

from __future__ import annotations

from pathlib import Path

from pipeline.cli.kmodel_file import read_bytes
from pipeline.cli.options import Json, KmodelFile
from pipeline.cli.output import console, print_json


def inspect(file: KmodelFile, as_json: Json = False) -> None:
    """Show what a kmodel is: version, layers, memory, registers by name (--json), and which firmware would load it.

    v3, v4, v5 and early v5 are read; v1, v6, v7 and encrypted ones are recognised and named.

    Exit code 0 for all of these, 2 for a file that is damaged or no kmodel.

    Examples:
        kpufit inspect out/fashion-mnist-mini/convert/network.kmodel
        kpufit inspect out/fashion-mnist-mini/convert/network.kmodel --json

    """
    from pipeline.firmware.profile import profiles
    from pipeline.kmodel.identify import identify
    from pipeline.kmodel.read import read
    from pipeline.report.kmodel import inspect_json, inspect_table

    content = read_bytes(file)
    identity = identify(content)
    kmodel = read(content, where=str(file)) if identity.readable else None
    # Early v5 has other operator numbers, which no released firmware knows.
    loadable = kmodel is not None and not identity.early
    loads_on = [profile.name for profile in profiles(Path.cwd()) if loadable and identity.version in profile.versions]
    if as_json:
        print_json(inspect_json(identity, kmodel, loads_on, len(content)))
        return
    print(f"{file}: {identity.name}, {len(content):,} bytes")
    if kmodel is None:
        return
    console().print(inspect_table(kmodel, ""))
    sizes = ", ".join(f"{name.replace('_', ' ')} {size:,}" for name, size in vars(kmodel.sizes).items() if size)
    print(f"bytes: {sizes}")
    print(
        f"memory: {kmodel.heap_bytes:,} bytes of general SRAM beside the file, {kmodel.kpu_bytes:,} of the KPU's 2 MiB"
    )
    print(f"format loaded by: {', '.join(loads_on) or 'no known firmware'} (`kpufit gate` says whether it fits)")
    for note in kmodel.notes:
        print(f"note: {note}")
