"""Asks for a new admin password, hidden and twice, and sets it."""

from risk_manager.admin.password_change import give_password, problem_with_new
from risk_manager.console.failures import GivenUp
from risk_manager.console.page import Page


async def set_password(page: Page, *, is_first: bool) -> str:
    """Return in a sentence from when it counts. Raises GivenUp, AdminRefused or NotChanged."""
    old = None if is_first else await page.ask("Old admin password", hidden=True)
    new = await page.ask(
        "New admin password", hidden=True, check=lambda given: problem_with_new(old, given)
    )
    if await page.ask("New admin password, again", hidden=True) != new:
        raise GivenUp("the two do not match; nothing was changed")
    console = page.console
    with page.doing("setting the password", is_writing=True):
        return await give_password(console.data, console.daemon, old, new)
