"""Firmware profiles, the memory sum and the gate."""
