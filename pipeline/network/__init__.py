"""A network: ONNX → trainable ``torch.fx.GraphModule`` → ONNX, its importers and the zoo."""
