"""One module a DVC stage, each with ``run(run: Run) -> int``: the only code that reads and writes stage files."""
