"""The pages of a what-if: the question, the answer, one day of it, and the curve of one limit."""
