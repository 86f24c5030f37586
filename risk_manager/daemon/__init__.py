"""The daemon: every part built, started in order, stopped in reverse."""
