"""Equalisation, onnx2tf, the lift of its output to Keras layers, and tfmot QAT in the KPU's scheme."""
