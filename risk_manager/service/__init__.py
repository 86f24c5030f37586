"""The daemon as a service of the system: NSSM on Windows, systemd on Linux, launchd on macOS."""
