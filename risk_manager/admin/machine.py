"""Checks of the machine: the versions installed, sleep, and signs of a remote place."""

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from risk_manager import __version__
from risk_manager.admin.finding import Finding, Grade

SDK = "project-x-py"
ASKED_FOR_S = 5.0
REMOTE_RULE = "TopstepX forbids automated trading over a VPN, a VPS or a remote machine"
_TUNNELS = re.compile(r"(tun|tap|wg|ppp|utun|tailscale|zt|nordlynx|proton)\w*", re.IGNORECASE)
_RENTED = re.compile(
    r"kvm|qemu|vmware|virtualbox|virtual machine|xen|bochs|amazon ec2|google compute|"
    r"droplet|hvm domu|openstack|linode|vultr|hetzner",
    re.IGNORECASE,
)


def versions() -> Finding:
    """Check the version of the gateway's SDK: the program relies on one exact version."""
    check = "versions"
    try:
        sdk = version(SDK)
        needed = next(n for n in requires("risk-manager") or () if n.startswith(f"{SDK}=="))
    except (PackageNotFoundError, StopIteration):
        return Finding(check, Grade.FAIL, f"{SDK} is not installed", "run: make setup")
    if needed.partition(";")[0].strip() != f"{SDK}=={sdk}":
        return Finding(
            check,
            Grade.FAIL,
            f"{SDK} {sdk}; risk_manager {__version__} is made for {needed.partition('==')[2]}",
            f"pip install {needed}",
        )
    return Finding(check, Grade.OK, f"risk_manager {__version__}, {SDK} {sdk}")


# --- sleep ----------------------------------------------------------------------------------------


def sleep_settings() -> Finding:
    """Check whether the machine may go to sleep by itself, which ends all guarding."""
    if sys.platform == "darwin":
        said = _output("pmset", "-g", "custom")
        return told_sleep(minutes_of_pmset(said), "sudo pmset -a sleep 0")
    if sys.platform == "win32":
        said = _output("powercfg", "/query", "SCHEME_CURRENT", "SUB_SLEEP", "STANDBYIDLE")
        return told_sleep(minutes_of_powercfg(said), "powercfg /change standby-timeout-ac 0")
    return sleep_on_linux(
        target=_output("systemctl", "is-enabled", "sleep.target").strip(),
        has_battery=any(Path("/sys/class/power_supply").glob("BAT*")),
    )


def sleep_on_linux(*, target: str, has_battery: bool) -> Finding:
    """Judge by the state of systemd's sleep target, and by whether this is a portable machine."""
    check = "sleep"
    if target == "masked":
        return Finding(check, Grade.OK, "the machine cannot be suspended (sleep.target is masked)")
    if has_battery:
        return Finding(
            check,
            Grade.WARN,
            "this machine has a battery and may be suspended; nobody guards while it sleeps",
            "systemctl mask sleep.target suspend.target, and leave the lid open",
        )
    if not target:
        return Finding(check, Grade.OK, "no battery; whether it may be suspended is not known")
    return Finding(check, Grade.OK, "no battery; see that the desktop does not suspend it")


def told_sleep(minutes: int | None, fix: str) -> Finding:
    check = "sleep"
    if minutes is None:
        return Finding(check, Grade.WARN, "whether the machine may sleep cannot be read", fix)
    if minutes:
        return Finding(
            check,
            Grade.WARN,
            f"the machine sleeps after {minutes} min; nobody guards while it sleeps",
            fix,
        )
    return Finding(check, Grade.OK, "the machine does not go to sleep by itself")


def minutes_of_pmset(said: str) -> int | None:
    """Return after how many minutes macOS sleeps on any power source; 0: never."""
    found = [int(n) for n in re.findall(r"^\s*sleep\s+(\d+)", said, re.MULTILINE)]
    timed = [n for n in found if n]
    return min(timed) if timed else (0 if found else None)


def minutes_of_powercfg(said: str) -> int | None:
    """Return after how many minutes Windows sleeps while plugged in; 0: never.

    The last two numbers are the settings for mains and battery, in every language.
    """
    found = re.findall(r":\s*0x([0-9a-fA-F]{8})\s*$", said, re.MULTILINE)
    return round(int(found[-2], 16) / 60) if len(found) >= 2 else None


# --- a remote place -------------------------------------------------------------------------------


def remote_signs(env: Mapping[str, str], *, matters: bool) -> Finding:
    """Check for signs of a VPN, a rented machine, or a session over the network.

    `matters` is False where no real account is traded.
    """
    signs = [
        *session_signs(env),
        *tunnel_signs(_network_names()),
        *rented_signs(_read("/sys/class/dmi/id/sys_vendor", "/sys/class/dmi/id/product_name")),
    ]
    if signs and not matters:
        found = f"{'; '.join(signs)}; with the practice gateway that does not matter"
        return Finding("remote", Grade.OK, found)
    if signs:
        return Finding(
            "remote",
            Grade.WARN,
            f"{'; '.join(signs)}. {REMOTE_RULE}",
            "run the daemon on your own computer, at its own keyboard and without a VPN",
        )
    return Finding("remote", Grade.OK, "no sign of a VPN, a VPS or a remote session")


def session_signs(env: Mapping[str, str]) -> Iterator[str]:
    if env.get("SSH_CONNECTION") or env.get("SSH_TTY"):
        yield "this is a session over SSH"
    if env.get("SESSIONNAME", "").upper().startswith("RDP"):
        yield "this is a session over Remote Desktop"


def tunnel_signs(names: Iterable[str]) -> Iterator[str]:
    found = sorted(name for name in names if _TUNNELS.fullmatch(name))
    if found:
        yield f"a tunnel is up ({', '.join(found)}), as a VPN makes one"


def rented_signs(hardware: str) -> Iterator[str]:
    found = _RENTED.search(hardware)
    if found:
        yield f"this is a virtual machine ({found.group()})"


def _network_names() -> list[str]:
    """Return the network interfaces that are up, where the system tells."""
    names = []
    for place in Path("/sys/class/net").glob("*"):
        if _read(str(place / "operstate")).strip() != "down":
            names.append(place.name)
    return names


def _read(*paths: str) -> str:
    found = []
    for path in paths:
        try:
            found.append(Path(path).read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
    return " ".join(found)


def _output(*command: str) -> str:
    """Return what a command of the system prints; empty where there is no such command."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=ASKED_FOR_S, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout
