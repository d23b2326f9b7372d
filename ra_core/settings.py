"""Configuration machinery: frozen pydantic models read from YAML, whose unknown keys are refused by name."""

from __future__ import annotations

import difflib
import hashlib
import json
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, ValidationInfo
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticUndefined

from ra_core.errors import ConfigError
from ra_core.files import SMALL, read_bounded

__all__ = ["BesideFile", "Config", "commented_yaml", "first_problem", "load_config"]


class Config(BaseModel):
    """Base of all settings: immutable, no unknown keys, no NaN.

    Attributes:
        shorthands: keys that a validator replaces by others, and what they mean.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    shorthands: ClassVar[dict[str, str]] = {}

    def digest(self) -> str:
        """SHA-256 of the settings as canonical JSON: equal settings, equal digest."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def _beside(path: Path, info: ValidationInfo) -> Path:
    return info.context["folder"] / path if info.context else path


BesideFile = Annotated[Path, AfterValidator(_beside)]
"""A path that a settings file gives relative to the folder that it is in; other paths stay as they are."""

C = TypeVar("C", bound=Config)


class _TwiceError(yaml.YAMLError):
    """A key that a mapping has already."""

    def __init__(self, key: str, line: int) -> None:
        self.key, self.line = key, line


class _AliasError(yaml.YAMLError):
    """A value that stands for another one."""

    def __init__(self, line: int) -> None:
        self.line = line


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, but two equal keys are refused: it takes the last, and nobody knows which one was meant.

    Aliases are too: a dozen lines of them stand for more values than any memory holds.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise _AliasError(self.line + 1)
        return super().compose_node(parent, index)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        keys = set[tuple[str, str]]()
        for key, _ in node.value:
            if (key.tag, str(key.value)) in keys:
                raise _TwiceError(str(key.value), key.start_mark.line + 1)
            keys.add((key.tag, str(key.value)))
        return node


def load_config(path: Path, kind: type[C]) -> C:
    """Read one YAML file into a settings class.

    Raises:
        ConfigError: the file can't be read, is no YAML mapping, or breaks the schema; names file, key and reason.
    """
    try:
        data = yaml.load(read_bounded(path, SMALL).decode(), _Loader)  # noqa: S506 - a safe loader that refuses more
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file", f"check the path; {_command(kind)} prints a default") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read ({type(error).__name__})", "give a UTF-8 YAML file") from None
    except _TwiceError as error:
        raise ConfigError(f"{path}, line {error.line}: '{error.key}' stands there twice", "keep one of them") from None
    except _AliasError as error:
        raise ConfigError(f"{path}, line {error.line}: a YAML alias (*name)", "write the value out") from None
    except (yaml.YAMLError, ValueError) as error:  # a date that doesn't exist is a ValueError
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{where}: not valid YAML", "mind indentation, colons and quotes") from None
    except RecursionError:
        raise ConfigError(f"{path}: nested too deeply", f"{_command(kind)} prints a commented default") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: holds no settings", f"{_command(kind)} prints a commented default")
    try:
        return kind.model_validate(data, context={"folder": path.parent})
    except ValidationError as error:
        raise _explain(path, error, kind) from None


def first_problem(error: ValidationError, whole: str) -> str:
    """The first thing that is wrong with a settings file, as "key: reason".

    Args:
        error: of pydantic.
        whole: what stands in place of the key where the file as a whole is no good.
    """
    first = error.errors()[0]
    return f"{_key(first, whole)}: {_said(first)}"


def _key(error: ErrorDetails, whole: str) -> str:
    return ".".join(str(part) for part in error["loc"]) or whole


def _explain(path: Path, error: ValidationError, kind: type[Config]) -> ConfigError:
    first, more = error.errors()[0], error.error_count() - 1
    key = _key(first, "settings")
    also = f" (and {more} more)" if more else ""
    if first["type"] != "extra_forbidden":
        return ConfigError(f"{path}: {key}: {_reason(first)}{also}", f"{_command(kind)} explains every key")
    near = difflib.get_close_matches(key, list(_keys(kind)), n=1, cutoff=0.0)
    return ConfigError(f"{path}: unknown key '{key}'{also}", f"did you mean '{near[0]}'? {_command(kind)} lists all")


def _command(kind: type[Config]) -> str:
    """What prints the default: a hospital and the operator of a consortium have a command of their own."""
    name = kind.__name__.removesuffix("Config").lower()
    own = {"site": "`ra-client config`", "consortium": "`ra-server config`"}
    return own.get(name, f"`ra-simulate config {name}`")


def _reason(error: ErrorDetails) -> str:
    if error["type"] == "missing":
        return "is required"
    said = _said(error)
    reason = said[:1].lower() + said[1:]
    # The text of a whole section would say nothing that the key doesn't.
    return reason if isinstance(error["input"], dict) else f"{reason}, not {error['input']!r:.60}"


def _said(error: ErrorDetails) -> str:
    """What is wrong, in the words of our own validator where one has raised."""
    return str(error["ctx"]["error"]) if error["type"] == "value_error" else error["msg"]


def _keys(kind: type[Config], prefix: str = "") -> Iterator[str]:
    """Dotted names of all settings, depth first."""
    yield from (prefix + name for name in kind.shorthands)
    for name, field in kind.model_fields.items():
        yield prefix + name
        nested = nested_config(field)
        if nested:
            yield from _keys(nested, f"{prefix}{name}.")


def nested_config(field: FieldInfo) -> type[Config] | None:
    """The settings class that a field holds by default, or by its type; several of them are a value like any other."""
    if isinstance(field.default, Config):
        return type(field.default)
    if typing.get_origin(field.annotation) in (tuple, dict):
        return None
    for candidate in (field.annotation, *typing.get_args(field.annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Config):
            return candidate
    return None


def commented_yaml(kind: type[Config], example: dict[str, Any] | None = None) -> str:
    """A YAML text with every setting, its default (or the example's value) and what it means.

    Settings that may be left out as a whole, and are, stand there as comments.
    """
    return "\n".join(_lines(kind, example or {}, "")) + "\n"


def _lines(kind: type[Config], example: dict[str, Any], indent: str) -> Iterator[str]:
    for name, meaning in kind.shorthands.items():
        yield f"{indent}# {name}:  # {meaning}"
    for name, field in kind.model_fields.items():
        default = None if field.default is PydanticUndefined else field.default
        value = example.get(name, default)
        nested = nested_config(field)
        if nested:
            given = value.model_dump(mode="json") if isinstance(value, Config) else value
            left_out = value is None and not field.is_required()
            yield from _nested_lines(name, nested, given or {}, indent + "# " * left_out)
        else:
            text = yaml.safe_dump(_plain(value), default_flow_style=True, width=1000).removesuffix("...\n").strip()
            yield f"{indent}{name}: {text}  # {field.description or ''}".rstrip(" #")


def _nested_lines(name: str, kind: type[Config], example: dict[str, Any], indent: str) -> Iterator[str]:
    yield f"{indent}{name}:  # {(kind.__doc__ or '').splitlines()[0]}"
    yield from _lines(kind, example, indent + "  ")


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value
