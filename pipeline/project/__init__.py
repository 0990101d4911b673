"""A project of one's own: the folder that ``dvc repro`` runs in, made, and what a run in it would do."""
