"""The study: space, objectives, constraints, storage, workers."""
