"""The reference, made from docstrings, provider info and the code's own tables, so that it is never older than they.

A page of ``docs/`` says ``<!-- made: NAME -->`` where the part NAME stands; ``PARTS`` has them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, get_args

from dev.docs.docstrings import cell, documented, signature, table

PACKAGE = "airflow_provider_capillary"
#: Page titles of the operators, in the order of use.
OPERATORS = {
    "transfers.sql_to_badge_dataset": "SqlToBadgeDatasetOperator",
    "operators.badge_import": "BadgeImportOperator",
    "operators.badge_error_report": "BadgeErrorReportOperator",
    "operators.badge_reconcile": "BadgeReconcileOperator",
    "operators.badge_revoke": "BadgeRevokeOperator",
    "operators.badge_seed": "BadgeSeedOperator",
}
_MADE = re.compile(r"^<!-- made: ([\w-]+) -->$", re.MULTILINE)
_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.+?)(?: = (.+?))?(?:  #: (.+))?$", re.MULTILINE)


def completed(text: str) -> str:
    """A page's Markdown with the made parts in their places."""
    return _MADE.sub(lambda found: PARTS[found[1]](), text)


def operators() -> str:
    """Every operator: what it does, its parameters, what it returns."""
    return "\n".join(
        _operator(getattr(import_module(f"{PACKAGE}.{module}"), name)) for module, name in OPERATORS.items()
    )


def _operator(kind: Any) -> str:
    said = documented(kind)
    rows = []
    for name, parameter in signature(kind.__init__).items():
        text = said.parameters.get(name, "")
        is_template = name in kind.template_fields
        text = text.replace("(templated)", "").strip()
        rows.append((f"`{name}`", _default(parameter), "yes" if is_template else "", text[:1].upper() + text[1:]))
    parts = [
        f"## {kind.__name__}\n",
        f"`from {kind.__module__} import {kind.__name__}`\n",
        f"{said.text}\n",
        table(("parameter", "default", "template", "meaning"), rows),
    ]
    return "\n".join([*parts, f"Returns {said.returns}\n" if said.returns else ""])


def _default(parameter: inspect.Parameter) -> str:
    if parameter.default is parameter.empty:
        return "required"
    text = repr(parameter.default)
    return f"`{text}`"


def decorator() -> str:
    """The decorator's own words."""
    from airflow_provider_capillary.decorators.badge_import import badge_import_task

    return f"## @task.capillary_badge_import\n\n{documented(badge_import_task).text}\n"


def hook() -> str:
    """The hook and its public methods."""
    from airflow_provider_capillary.hooks.capillary import CapillaryBadgeHook

    parts = [f"{documented(CapillaryBadgeHook).text}\n"]
    for name, member in vars(CapillaryBadgeHook).items():
        if name.startswith("_") or not inspect.isfunction(member):
            continue
        said = documented(member)
        arguments = str(inspect.signature(member)).replace("(self, ", "(").replace("(self)", "()")
        parts.append(f"## {name}\n\n```text\n{name}{arguments.replace(chr(39), '')}\n```\n\n{said.text}\n")
        rows = [(f"`{key}`", text) for key, text in [*said.parameters.items(), *said.raises.items()]]
        parts.append(table(("argument or error", "meaning"), rows) if rows else "")
    return "\n".join(parts)


def columns() -> str:
    """Each field with the columns under which it is found."""
    from airflow_provider_capillary.core.column_choice import FIELD_COLUMNS
    from airflow_provider_capillary.core.seeding import ID_COLUMNS

    found = {**FIELD_COLUMNS, "earnedBadgeId (seed only)": ID_COLUMNS}
    return table(("field", "found as"), [(f"`{name}`", ", ".join(f"`{one}`" for one in found[name])) for name in found])


def formats() -> str:
    """The formats of files, as the readers know them."""
    from airflow_provider_capillary.datasets.formats import DATASET_FORMATS

    rows = [(f"`{name}`", kind.title) for name, kind in DATASET_FORMATS.items()]
    return table(("`dataset_format`", "format"), rows)


def connection() -> str:
    """The connection's form, section by section."""
    from airflow_provider_capillary.get_provider_info import get_provider_info

    [kind] = get_provider_info()["connection-types"]
    parts = [f"Type `{kind['connection-type']}`, hook `{kind['hook-class-name']}`.\n"]
    labels = kind["ui-field-behaviour"]["relabeling"]
    parts.append(table(("field", "in the form"), [(f"`{name}`", label) for name, label in labels.items()]))
    sections: dict[str, list[tuple[str, ...]]] = {}
    for name, field in kind["conn-fields"].items():
        schema = field["schema"]
        allowed = ", ".join(f"`{one}`" for one in schema.get("enum", ())) or _of_types(schema["type"])
        default = str(schema.get("default", ""))
        default = default.lower() if schema["type"] == "boolean" else default
        row = (f"`{name}`", f"`{default}`" if default else "", allowed, field["description"])
        sections.setdefault(schema.get("section", ""), []).append(row)
    for title, rows in sections.items():
        parts += [f"### {title}\n", table(("extra", "default", "allowed", "meaning"), rows)]
    return "\n".join(parts)


def _of_types(types: Any) -> str:
    return " or ".join(one for one in ([types] if isinstance(types, str) else types) if one != "null")


def configuration() -> str:
    """The options of ``[capillary]``."""
    from airflow_provider_capillary.get_provider_info import get_provider_info

    rows = []
    for name, option in get_provider_info()["config"]["capillary"]["options"].items():
        variable = f"AIRFLOW__CAPILLARY__{name.upper()}"
        default = f"`{option['default']}`" if option["default"] else ""
        rows.append((f"`{name}`", f"`{variable}`", default, option["description"], f"`{option['example']}`"))
    return table(("option", "environment variable", "default", "meaning", "example"), rows)


def command_line() -> str:
    """Every command with its arguments, from what Airflow's own parser reads."""
    from airflow_provider_capillary.cli.definition import get_capillary_cli_commands

    [group] = get_capillary_cli_commands()
    return "\n".join(_commands("airflow capillary", group.subcommands))


def _commands(prefix: str, commands: Any) -> Iterator[str]:
    for command in commands:
        title = f"{prefix} {command.name}"
        if hasattr(command, "subcommands"):
            yield from _commands(title, command.subcommands)
            continue
        yield f"## {title}\n\n{command.help}.\n"
        if command.description:
            yield f"{command.description}\n"
        rows = [row for one in command.args if (row := _argument(one))]
        yield table(("argument", "meaning"), rows) if rows else ""


def _argument(argument: Any) -> tuple[str, ...] | None:
    if "--verbose" in argument.flags:
        return None
    options = argument.kwargs
    value = options.get("metavar") or ("" if options.get("action") in ("store_true", "extend") else "VALUE")
    choices = options.get("choices")
    value = ", ".join(map(str, choices)) if choices else value
    named = argument.flags[0].startswith("-")
    shown = ", ".join(argument.flags) + (f" {value}" if named and value else "")
    needed = " (required)" if options.get("required") else ""
    return f"`{shown}`{needed}", (options.get("help") or "").replace("%%", "%")


def simulator() -> str:
    """The simulator's command, its faults and how its reads may answer."""
    from airflow_provider_capillary.cli.options import SIMULATOR_OPTIONS, SIMULATOR_SWITCHES
    from airflow_provider_capillary.simulator import fault_plan, routing, simulator_settings, state_endpoints

    options = [(f"`{name}`", text) for name, text in {**SIMULATOR_OPTIONS, **SIMULATOR_SWITCHES}.items()]
    endpoints = re.findall(r"^(``.+?)  +(\S.*)$", state_endpoints.__doc__ or "", re.MULTILINE)
    operations = [(f"`{one.operation}`", f"`{' or '.join(one.methods)} {one.template}`") for one in routing.ROUTES]
    parts = [
        "## Options\n",
        table(("option", "meaning"), options),
        "## What may be asked of it\n",
        table(("call", "answer"), [(call.replace("``", "`"), text) for call, text in endpoints]),
        "## Faults\n",
        f"{(inspect.getdoc(fault_plan) or '').partition('::')[0].replace('``', '`').strip()}.\n",
        "A fault names its `kind` and, besides, the calls that it happens to. Every condition given must hold:\n",
        _fields(fault_plan.Fault),
        "`operation` is one of:\n",
        table(("operation", "call"), operations),
    ]
    for kind in get_args(fault_plan.AnyFault):
        parts += [f"### {kind.__struct_config__.tag}\n", f"{documented(kind).text}\n", _fields(kind)]
    parts += [
        "## How reads answer\n",
        f"{documented(simulator_settings.Reads).text}\n",
        _fields(simulator_settings.Reads),
    ]
    return "\n".join(parts)


def _fields(kind: type) -> str:
    """The fields that a class itself declares, with the comments behind them."""
    source = re.sub(r'""".*?"""', "", inspect.getsource(kind), count=1, flags=re.DOTALL)
    source = re.sub(r"= \(\n\s+(.+?)\n\s+\)", r"= \1", source.partition("\n    def ")[0])
    rows = [
        (f"`{name}`", f"`{kind}`", f"`{default}`" if default else "required", (comment or "").replace("``", "`"))
        for name, kind, default, comment in (
            (name, kind, *_default_and_comment(default, comment)) for name, kind, default, comment in _found(source)
        )
    ]
    return table(("field", "type", "default", "meaning"), rows) if rows else ""


def _found(source: str) -> list[tuple[str, str, str, str]]:
    return _ATTRIBUTE.findall(source)


def _default_and_comment(default: str, comment: str) -> tuple[str, str]:
    value, _, behind = default.partition("  #: ")
    return value, comment or behind


def errors() -> str:
    """The registry: how rows end, why they were not accepted, what the API answers, why tasks fail."""
    from airflow_provider_capillary.core import reason_table, reasons

    groups = {
        "How rows end": reason_table.ENDS,
        "Values that cannot be sent": reason_table.INVALID_VALUES,
        "Rows that the ledger keeps back": reason_table.PLANNED,
        "Rows without proof: what the request met": reason_table.SENT,
        "Rows without proof: what reading back showed": reason_table.READ_BACK,
        "Other reasons": (*reason_table.UNSENT, reason_table.OTHER),
        "Codes of the API": (*reason_table.API_CODES.values(), reason_table.API_OTHER),
        "Errors of tasks": tuple(reasons.FAILURES.values()),
    }
    return "\n".join(f"## {title}\n\n" + "\n".join(map(_registered, entries)) for title, entries in groups.items())


def _registered(entry: Any) -> str:
    to_do = f"\n**What to do:** {entry.to_do}\n" if entry.to_do else ""
    return f"### {entry.name} {{ #{entry.name} }}\n\n**{entry.title}.** {_code(entry.meaning)}\n{_code(to_do)}"


def _code(text: str) -> str:
    return text.replace("``", "`").replace("<", "&lt;")


def outcomes() -> str:
    """The one table of what a reply proves."""
    from airflow_provider_capillary.core import outcome

    rule = re.search(r"^=+ +=+\n.*?\n=+ +=+\n(.*?)\n=+ +=+$", outcome.__doc__ or "", re.MULTILINE | re.DOTALL)
    assert rule is not None
    rows = [tuple(cell(part) for part in re.split(r"  +", line, maxsplit=1)) for line in rule[1].splitlines()]
    return table(("what happened", "verdict"), rows)


PARTS: dict[str, Callable[[], str]] = {
    "columns": columns,
    "command-line": command_line,
    "configuration": configuration,
    "connection": connection,
    "decorator": decorator,
    "errors": errors,
    "formats": formats,
    "hook": hook,
    "operators": operators,
    "outcomes": outcomes,
    "simulator": simulator,
}
