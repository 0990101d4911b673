"""nncase: the child process (its worker runs on Python 3.10), its log and its errors."""
