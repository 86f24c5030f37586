"""The daemon: builds every part, starts the parts in order, and stops them in reverse."""
