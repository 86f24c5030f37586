"""`admin`: what an administrator does; its groups are one module each."""

from typing import TYPE_CHECKING

from risk_manager.cli import (
    admin_accounts,
    admin_alerts,
    admin_config,
    admin_console,
    admin_credentials,
    admin_daemon,
    admin_history,
    admin_incident,
    admin_panic,
    admin_password,
    admin_records,
    admin_report,
    admin_running,
    admin_selftest,
    admin_service,
)
from risk_manager.cli.groups import add_group

if TYPE_CHECKING:
    from risk_manager.cli.groups import Commands


def register(commands: "Commands") -> None:
    admin, groups = add_group(
        commands,
        "admin",
        "check the configuration, look at and lead the daemon",
        needs_verb=False,
    )
    admin_console.register(admin, groups)
    admin_config.register(groups)
    admin_daemon.register(groups)
    admin_panic.register(groups)
    admin_credentials.register(groups)
    admin_accounts.register(groups)
    admin_password.register(groups)
    admin_records.register(groups)
    admin_history.register(groups)
    admin_report.register(groups)
    admin_incident.register(groups)
    admin_running.register(groups)
    admin_selftest.register(groups)
    admin_alerts.register(groups)
    admin_service.register(groups)
