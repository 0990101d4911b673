"""Data sets, splits, augmentation and calibration images."""
