"""What the doctor reads off the machine: versions, sleep, and signs of a remote place."""

import pytest

from risk_manager.admin import machine
from risk_manager.admin.finding import Grade

PMSET = """Battery Power:
 lidwake              1
 sleep                {battery}
 disksleep            10
AC Power:
 displaysleep         10
 sleep                {mains}
"""
POWERCFG = """
  GUID de subgrupo: 238c9fa8-0aad-41ed-83f4-97be242c8f20  (Suspender)
      Configuracion posible minima: 0x00000000
      Configuracion posible maxima: 0xffffffff
      Incremento de configuraciones posibles: 0x00000001
    Indice de configuracion de corriente alterna actual: 0x{mains:08x}
    Indice de configuracion de corriente continua actual: 0x0000012c
"""


def test_the_installed_sdk_is_the_one_asked_for() -> None:
    finding = machine.versions()
    assert finding.grade is Grade.OK
    assert "project-x-py 4.4.1" in finding.found


@pytest.mark.parametrize(
    ("battery", "mains", "minutes"), [(0, 0, 0), (1, 0, 1), (15, 30, 15), (0, 30, 30)]
)
def test_sleep_on_macos(battery: int, mains: int, minutes: int) -> None:
    assert machine.minutes_of_pmset(PMSET.format(battery=battery, mains=mains)) == minutes


@pytest.mark.parametrize(("mains", "minutes"), [(0, 0), (1800, 30)])
def test_sleep_on_windows_in_any_language(mains: int, minutes: int) -> None:
    assert machine.minutes_of_powercfg(POWERCFG.format(mains=mains)) == minutes


def test_what_cannot_be_read_is_not_called_good() -> None:
    assert machine.minutes_of_pmset("") is None
    assert machine.minutes_of_powercfg("") is None
    assert machine.told_sleep(None, "fix").grade is Grade.WARN
    assert machine.told_sleep(30, "fix").grade is Grade.WARN
    assert machine.told_sleep(0, "fix").grade is Grade.OK


@pytest.mark.parametrize(
    ("target", "has_battery", "grade"),
    [
        ("masked", True, Grade.OK),
        ("static", True, Grade.WARN),
        ("static", False, Grade.OK),
        ("", True, Grade.WARN),
    ],
)
def test_sleep_on_linux(target: str, has_battery: bool, grade: Grade) -> None:
    assert machine.sleep_on_linux(target=target, has_battery=has_battery).grade is grade


def test_signs_of_a_session_over_the_network() -> None:
    assert list(machine.session_signs({})) == []
    assert list(machine.session_signs({"SESSIONNAME": "Console"})) == []
    assert list(machine.session_signs({"SSH_CONNECTION": "1.2.3.4 5 6.7.8.9 22"})) == [
        "this is a session over SSH"
    ]
    assert list(machine.session_signs({"SESSIONNAME": "RDP-Tcp#3"})) == [
        "this is a session over Remote Desktop"
    ]


def test_signs_of_a_tunnel() -> None:
    assert list(machine.tunnel_signs(["lo", "eth0", "wlan0", "docker0", "virbr0"])) == []
    (sign,) = machine.tunnel_signs(["eth0", "wg0", "tun1", "tailscale0"])
    assert "tailscale0, tun1, wg0" in sign


def test_signs_of_a_rented_machine() -> None:
    assert list(machine.rented_signs("LENOVO 20XW")) == []
    assert list(machine.rented_signs("QEMU Standard PC")) == ["this is a virtual machine (QEMU)"]


def test_a_remote_place_is_a_warning_only_where_a_real_account_is_traded() -> None:
    ssh = {"SSH_TTY": "/dev/pts/1"}
    real, practice = (machine.remote_signs(ssh, matters=matters) for matters in (True, False))
    assert real.grade is Grade.WARN
    assert "TopstepX forbids" in real.found
    assert real.fix
    assert practice.grade is Grade.OK
    assert "does not matter" in practice.found
