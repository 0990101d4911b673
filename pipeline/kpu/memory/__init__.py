"""Bytes, predicted: feature maps in the KPU's memory, first-fit allocation, and the file by layer and purpose."""
