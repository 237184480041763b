"""Programs that are drawn, and how they are run eagerly and compiled: runs.py first, then programs.py."""
