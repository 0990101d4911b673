"""HTML, plots and tables."""
