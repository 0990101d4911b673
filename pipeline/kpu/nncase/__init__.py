"""What nncase 1.9 makes of a network for the K210: its passes, its functions and its buffers, without running it.

The graph starts as ``import_onnx`` of nncase reads a network (``imports``), goes through the compiler's passes in the
compiler's order (``passes``), is cut into functions for the KPU (``regions``) and laid out in memory (``buffers``,
``schedule``). Each rewrite names the file of kendryte/nncase that does the same; all were compared, pass by pass, with
the graphs that nncase 1.9.0.20230322 dumps (``dump_ir``), and the results with the kmodels it writes.
"""
