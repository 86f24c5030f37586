"""The core: what an account is, what may happen to it, and what must follow. Pure."""
