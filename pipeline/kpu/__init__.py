"""The chip: limits, rules, memory, size and latency prediction, bit-exact arithmetic."""
