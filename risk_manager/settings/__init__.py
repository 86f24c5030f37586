"""The files of the configuration folder, which an operator edits: loading and checks."""

from risk_manager.settings.configuration import Configuration, Credentials
from risk_manager.settings.loading import load
from risk_manager.settings.problems import ConfigurationErrors, Problem
from risk_manager.settings.secrets import SecretUnavailable

__all__ = [
    "Configuration",
    "ConfigurationErrors",
    "Credentials",
    "Problem",
    "SecretUnavailable",
    "load",
]
