"""Words for a record that does not fit its model."""

from pydantic import ValidationError


def first_problem(error: ValidationError) -> str:
    """Return a validation error in one line, without the values themselves."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(step) for step in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]
