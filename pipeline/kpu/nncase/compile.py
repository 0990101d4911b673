"""From an ONNX network to what nncase 1.9 would make of it."""
from __future__ import annotations
from pipeline.kpu.nncase.imports import import_onnx
from pipeline.kpu.nncase.passes import run_passes
from pipeline.kpu.nncase.regions import cut_functions
from pipeline.kpu.nncase.buffers import mark_idle, add_copies
from pipeline.kpu.nncase.schedule import buffers

def peak(placed): return max((b.start+-(-b.size//8)*8 for b in placed), default=0)

def lower(model, parts_share=None):
    graph, refused = import_onnx(model)
    run_passes(graph, parts_share)
    for n in graph.nodes():
        if n.op in ('kpu_upload','kpu_conv2d'): n.output.place='kpu'
    mark_idle(graph)
    functions = cut_functions(graph)
    add_copies(graph)
    for f in functions: add_copies(f.graph)
    main = buffers(graph)
    subs = [buffers(f.graph) for f in functions]
    return graph, functions, main, subs
