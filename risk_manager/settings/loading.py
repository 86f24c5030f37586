"""Loading the configuration folder: every error of every file at once, or a configuration."""

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_settings import EnvSettingsSource, SettingsError

from risk_manager.domain.rule import Rule
from risk_manager.rules.flat_by import FLAT_BY, FlatBy
from risk_manager.settings import checks
from risk_manager.settings.accounts_file import AccountsFile
from risk_manager.settings.calendar_file import CalendarFile
from risk_manager.settings.configuration import Configuration
from risk_manager.settings.documents import Document, Path_, parse, read
from risk_manager.settings.explain import explain, suggestion
from risk_manager.settings.preset_files import file_of
from risk_manager.settings.problems import ConfigurationErrors, Problem
from risk_manager.settings.release_files import ReleaseFiles
from risk_manager.settings.risk_file import RiskFile
from risk_manager.settings.rule_entries import RuleEntries, merge, overridden, read_entries
from risk_manager.settings.settings_file import (
    ENV_NESTING,
    ENV_PREFIX,
    GatewaySettings,
    Settings,
)

SETTINGS = "settings.yaml"
ACCOUNTS = "accounts.yaml"
RISK_CONFIG = "risk_config.yaml"
CALENDAR = "calendar.yaml"
ENVIRONMENT = "environment"
LIMITING_FILES = (ACCOUNTS, RISK_CONFIG, CALENDAR)
"""The files that limit trading, besides those that a rule names. settings.yaml only says how the
daemon is run."""


def load(
    folder: Path,
    env: Mapping[str, str] | None = None,
    *,
    today: date | None = None,
    instead: Mapping[str, str] | None = None,
) -> Configuration:
    """Load the configuration of a folder, with environment overrides applied to settings.yaml.

    `instead` are texts by file name to load in place of those in the folder, to check an edit
    before it is written. Raises ConfigurationErrors with every error in all files. Secrets are not
    looked up here; see Configuration.credentials.
    """
    documents = {
        name: read(folder, name, required=name != CALENDAR) for name in (SETTINGS, *LIMITING_FILES)
    }
    for name, text in (instead or {}).items():
        documents[name] = Document(name, exists=documents[name].exists)
        parse(documents[name], text.encode())
    given = os.environ if env is None else env
    configuration = _checked(folder, documents, given, today, ReleaseFiles(folder))
    return replace(configuration, warnings=(*open_to_everybody(folder), *configuration.warnings))


def load_gateway(folder: Path, env: Mapping[str, str] | None = None) -> GatewaySettings:
    """Load the gateway's section alone, whatever is wrong elsewhere in the files.

    For orders that must be carried out in spite of a broken configuration. Raises
    ConfigurationErrors if the section itself cannot be used.
    """
    env = os.environ if env is None else env
    prefix = f"{ENV_PREFIX}GATEWAY{ENV_NESTING}"
    overrides = _overrides({k: v for k, v in env.items() if k.upper().startswith(prefix)})
    own = overrides.get("gateway") or {}
    document = read(folder, SETTINGS)
    data = document.data
    if not isinstance(data, dict):
        if document.problems and "kind" not in own:
            raise ConfigurationErrors(document.problems)
        data = {}
    document.problems.clear()
    section = data.get("gateway")
    merged = merge(section if isinstance(section, dict) else {}, own)
    try:
        if isinstance(section, dict | None):
            return GatewaySettings.model_validate(merged)
        document.refuse(("gateway",), "must be a group of keys, as key: value")
    except ValidationError as error:
        for path, sentence in explain(error, merged, GatewaySettings):
            document.refuse(("gateway", *path), sentence)
    raise ConfigurationErrors(document.problems)


def load_texts(folder: Path, texts: Mapping[str, str]) -> Configuration:
    """Load a configuration from stored `Configuration.texts`, with default settings.

    Presets are those of the texts: a newer version of a preset is an edit like any other.

    Raises ConfigurationErrors if this version cannot read them.
    """
    documents = {name: Document(name, exists=name in texts) for name in LIMITING_FILES}
    for name, document in documents.items():
        if document.exists:
            parse(document, texts[name].encode())
    files = ReleaseFiles(None, {n: t for n, t in texts.items() if n not in LIMITING_FILES})
    return _checked(folder, {SETTINGS: Document(SETTINGS), **documents}, {}, None, files, texts)


def _checked(
    folder: Path,
    documents: dict[str, Document],
    env: Mapping[str, str],
    today: date | None,
    files: ReleaseFiles,
    presets: Mapping[str, str] | None = None,
) -> Configuration:
    """`presets` are the texts of presets, by file name, that win over those of this version."""
    settings, environment_problems = _settings(documents[SETTINGS], env)
    accounts = _validated(documents[ACCOUNTS], AccountsFile)
    if accounts is not None:
        checks.check_accounts(documents[ACCOUNTS], accounts)
    calendar = _validated(documents[CALENDAR], CalendarFile, empty={})
    risk, entries, own = _risk(documents[RISK_CONFIG], files, presets)

    problems = [*environment_problems, *(p for d in documents.values() for p in d.problems)]
    if problems or not (settings and accounts and calendar and risk):
        raise ConfigurationErrors(problems) from None
    configuration = Configuration(
        folder=folder,
        settings=settings,
        accounts=accounts,
        risk=risk,
        calendar=calendar,
        rules=(*entries.rules, *_of_the_trading_day(risk)),
        overridden=own,
        texts={
            **{name: documents[name].text for name in LIMITING_FILES if documents[name].exists},
            **{file_of(used.preset.preset): used.text for used in entries.presets},
            **files.texts,
        },
        presets=tuple(entries.presets),
    )
    found = [
        *_stray_variables(env),
        *checks.warnings(
            documents[ACCOUNTS],
            documents[RISK_CONFIG],
            documents[CALENDAR],
            accounts=accounts,
            risk=risk,
            calendar=calendar,
            presets=configuration.presets,
            in_force={a.id: configuration.rules_of(a.id) for a in accounts.enabled},
            today=today or datetime.now(UTC).date(),
        ),
    ]
    return replace(configuration, warnings=tuple(dict.fromkeys(found)))


def _validated[M: BaseModel](document: Document, model: type[M], empty: Any = None) -> M | None:
    """The document as its model; None, with the reasons in the document, where it is not."""
    data = document.data if document.data is not None else empty
    if document.problems and data is None:
        return None
    if data is None:
        document.refuse((), "is empty; restore the file that was shipped and edit it")
        return None
    if not isinstance(data, dict):
        document.refuse((), "must be a group of keys, as key: value")
        return None
    try:
        return model.model_validate(data)
    except ValidationError as error:
        said = {problem.key for problem in document.problems}
        for path, sentence in explain(error, data, model):
            if document.key(path) not in said:
                document.refuse(path, sentence)
        return None


# --- settings.yaml and the environment -------------------------------------------------------


def _settings(document: Document, env: Mapping[str, str]) -> tuple[Settings | None, list[Problem]]:
    problems: list[Problem] = []
    try:
        overrides = _overrides(env)
    except SettingsError:
        overrides = {}
        problems.append(
            Problem(
                ENVIRONMENT,
                0,
                f"{ENV_PREFIX}*",
                f"a whole section cannot be given; name one key, as {ENV_PREFIX}FEED__PORT",
            )
        )
    data = document.data
    if data is None and document.exists and not document.problems:
        data = {}  # all of settings.yaml has defaults
    if not isinstance(data, dict):
        _validated(document, Settings)
        return None, problems
    merged = merge(data, overrides)
    try:
        return Settings.model_validate(merged), problems
    except ValidationError as error:
        for path, sentence in explain(error, merged, Settings):
            variable = _variable(overrides, path)
            if variable is None:
                document.refuse(path, sentence)
            else:
                problems.append(Problem(ENVIRONMENT, 0, variable, sentence))
        return None, problems


def _overrides(env: Mapping[str, str]) -> dict[str, Any]:
    source = EnvSettingsSource(
        Settings,
        case_sensitive=False,
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=ENV_NESTING,
        env_ignore_empty=True,
    )
    source.env_vars = {name.lower(): value for name, value in env.items() if value != ""}
    return source()


def _variable(overrides: Mapping[str, Any], path: Path_) -> str | None:
    """The variable a value came from; None for one from the file."""
    below: Any = overrides
    names = []
    for part in path:
        if not isinstance(below, Mapping) or part not in below:
            return None
        below = below[str(part)]
        names.append(str(part).upper())
    return ENV_PREFIX + ENV_NESTING.join(names) if names else None


def _stray_variables(env: Mapping[str, str]) -> Iterator[Problem]:
    """Report misspelt variables such as RISK_MANAGER_GATEWY__KIND, which have no effect."""
    sections = list(Settings.model_fields)
    for name in sorted(env):
        upper = name.upper()
        if not upper.startswith(ENV_PREFIX) or ENV_NESTING not in upper:
            continue
        section = upper.removeprefix(ENV_PREFIX).partition(ENV_NESTING)[0].lower()
        if section not in sections:
            close = suggestion(section, sections)
            yield Problem(ENVIRONMENT, 0, upper, f"no such section{close}; the variable is ignored")


def open_to_everybody(folder: Path) -> list[Problem]:
    """Return the files that everybody can edit, and the folder, as such limits protect nothing."""
    if os.name != "posix":
        return []
    found = []
    for name in (".", SETTINGS, *LIMITING_FILES):
        path = folder / name
        try:
            mode = path.stat().st_mode
        except OSError:
            continue  # a file that is not there; one that cannot be read is reported elsewhere
        if stat.S_IMODE(mode) & stat.S_IWOTH:
            shown = "the configuration folder" if name == "." else name
            found.append(Problem(shown, 0, "", f"everybody may write to it; run: chmod o-w {path}"))
    return found


# --- risk_config.yaml ------------------------------------------------------------------------


def _risk(
    document: Document, files: ReleaseFiles, presets: Mapping[str, str] | None
) -> tuple[RiskFile | None, RuleEntries, dict[int, dict[str, Rule]]]:
    data = document.data
    if not isinstance(data, dict):
        return _validated(document, RiskFile), RuleEntries(), {}
    entries = read_entries(document, data.get("rules"), files, presets)
    own: dict[int, dict[str, Rule]] = {}
    accounts = data.get("accounts")
    if isinstance(accounts, dict):
        for account, section in accounts.items():
            if not isinstance(section, dict):
                continue
            rules = overridden(document, account, section.get("overrides"), entries, files)
            if account.isdecimal():
                if int(account) in own:
                    document.refuse(("accounts", account), "this account is written twice")
                own[int(account)] = rules
    # The rule entries are validated already; the rest of the file is validated without them.
    judged = {**data, "rules": []} if "rules" in data else data
    if "rules" in data and not isinstance(data["rules"], list | dict):
        judged = data
    risk = _validated(_with(document, judged), RiskFile)
    for rules in own.values():
        checks.check_rules(document, risk, rules.values())
    checks.check_rules(document, risk, entries.rules)
    if risk is not None and risk.trading_day.flat_by is not None:
        for entry in entries.entries:
            if entry.id == FLAT_BY:
                document.refuse(entry.path, f"the id {FLAT_BY} is that of trading_day.flat_by")
    return risk, entries, own


def _of_the_trading_day(risk: RiskFile) -> tuple[Rule, ...]:
    """Return the rule that enforces `trading_day.flat_by`, if it is set."""
    day = risk.trading_day
    return () if day.flat_by is None else (FlatBy.of(day.compiled(), day.flat_by),)


def _with(document: Document, data: dict[str, Any]) -> Document:
    """The same document (and the same list of problems) with other data."""
    return replace(document, data=data)
