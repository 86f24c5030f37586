"""The fire drill: every armed rule is driven to its breach on the practice exchange."""
