"""One module a DVC stage: the only code that reads and writes stage files."""
