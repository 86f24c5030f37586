"""The values: what an account is, what may happen to it, what a rule may ask for. Pure."""
