"""Looks at variables, inside the kernel. Sent there as text, never imported here.

It is run with names of its own, so nothing of it stays in the user's
namespace. Whatever it says about a value comes from the value's exact type
and from reading containers and arrays of known types: no ``__repr__``,
property or other method of a class it does not know is called, unless the
caller asked for the full ``repr``.

Runs on any Python ≥ 3.8 that a kernel may have.
"""
# Untyped on purpose: it meets values of any kind, and travels as text each time it is asked.
# ruff: noqa: ANN001, ANN201, ANN202, ARG001, D103, PERF401, UP031
# pyright: basic

from __future__ import annotations

import itertools
import json
import sys

MAX_VARIABLES = 300
MAX_TEXT = 16000
SCALARS = (bool, float, complex, range, type(None), type(Ellipsis))
PLAIN_KINDS = "biufcSUmM"


def answer(namespace, question):
    """Answer one question about the user's namespace with JSON."""
    if question["ask"] == "variables":
        result = list_variables(namespace)
    else:
        result = inspect_variable(namespace, question["name"], question["safe"])
    return json.dumps(result)


def list_variables(namespace):
    hidden = _hidden()
    names = [
        name
        for name, value in list(namespace.items())
        if type(name) is str
        and not name.startswith("_")
        and type(value) is not type(sys)
        and not (name in hidden and hidden[name] is value)
    ]
    rows = [[name, type_name(namespace[name]), preview(namespace[name], 80)] for name in names[:MAX_VARIABLES]]
    return {"variables": rows, "more": max(0, len(names) - MAX_VARIABLES)}


def inspect_variable(namespace, name, safe):
    if name not in namespace:
        near = [n for n in namespace if type(n) is str and not n.startswith("_") and n.lower() == name.lower()]
        return {"missing": True, "near": near[:3]}
    value = namespace[name]
    text = describe(value)
    if not safe:
        text += "\n\nrepr:\n" + full_text(value)
    return {"text": text[: MAX_TEXT + 2000]}


def full_text(value):
    pandas = sys.modules.get("pandas")
    try:
        if pandas is not None and type(value) is pandas.DataFrame:
            text = value.to_string(max_rows=20, max_cols=20)
        else:
            text = repr(value)
    except Exception as error:
        return f"(its repr raised {type_name(error)})"
    if len(text) > MAX_TEXT:
        return text[:MAX_TEXT] + "\n… (%d more characters)" % (len(text) - MAX_TEXT)
    return text


# -- names of types, without asking the type ----------------------------------------


def class_name(cls):
    # Through ``type``, because a metaclass may have its own idea of attributes.
    name = type.__dict__["__name__"].__get__(cls)
    module = type.__dict__["__module__"].__get__(cls)
    if type(module) is not str or module in ("builtins", "__main__"):
        return name
    return "{}.{}".format(module.split(".")[0], name)


def type_name(value):
    return class_name(type(value))


def _hidden():
    try:
        from IPython import get_ipython

        return dict(get_ipython().user_ns_hidden)
    except Exception:
        return {}


# -- one line -----------------------------------------------------------------------


def preview(value, room, depth=2):
    text = _preview(value, room, depth)
    return text if len(text) <= room + 40 else text[: room + 40] + "…"


def _preview(value, room, depth):
    kind = type(value)
    if kind in SCALARS:
        return repr(value)
    if kind is int:
        return repr(value) if value.bit_length() <= 256 else "(an integer of %d bits)" % value.bit_length()
    if kind is str or kind is bytes:
        if len(value) <= room:
            return repr(value)
        return "%r… (%d long)" % (value[:room], len(value))
    if kind in (list, tuple, set, frozenset, dict):
        return _container(value, room, depth)
    return _known(value, room) or _code(value) or f"<{type_name(value)}>"


def _container(value, room, depth):
    kind, size = type(value), len(value)
    if depth <= 0:
        return "<%s of %d>" % (kind.__name__, size)
    parts, used = [], 0
    for item in value:
        if used > room or len(parts) >= 10:
            parts.append("…")
            break
        if kind is dict:
            text = preview(item, 20, depth - 1) + ": " + preview(value[item], 30, depth - 1) if _plain(item) else "…"
        else:
            text = preview(item, 30, depth - 1)
        parts.append(text)
        used += len(text)
    body = ", ".join(parts)
    text = {list: "[%s]", tuple: "(%s)", dict: "{%s}", set: "{%s}", frozenset: "{%s}"}[kind] % body
    return "%s (%d items)" % (text, size) if parts and parts[-1] == "…" else text


def _plain(key):
    return type(key) in (str, bytes, int, float, bool, type(None))


def _code(value):
    kind = type(value)
    if kind is type(_code):
        code = value.__code__
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        return "{}({})".format(value.__name__, ", ".join(names))
    if kind is type:
        return f"class {class_name(value)}"
    return ""


def _known(value, room):
    for look in (_standard, _numpy, _pandas, _polars, _torch):
        text = look(value, room)
        if text:
            return text
    return ""


def _standard(value, room):
    import datetime
    import decimal
    import pathlib

    kind = type(value)
    plain = (
        datetime.date,
        datetime.timedelta,
        decimal.Decimal,
        pathlib.PosixPath,
        pathlib.WindowsPath,
        pathlib.PurePosixPath,
        pathlib.PureWindowsPath,
    )
    if kind in plain:
        return repr(value)
    if kind is datetime.datetime and (value.tzinfo is None or type(value.tzinfo) is datetime.timezone):
        return repr(value)
    return ""


def _numpy(value, room):
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return ""
    kind = type(value)
    if kind is numpy.ndarray:
        head = f"array {value.shape} {value.dtype}"
        if value.dtype.kind in PLAIN_KINDS and value.dtype.names is None and value.size:
            head += f": {preview(value.flat[:8].tolist(), room, 1)}"
            head += "" if value.size <= 8 else " …"
        return head
    if kind.__flags__ and issubclass(kind, numpy.generic) and type.__dict__["__module__"].__get__(kind) == "numpy":
        return repr(value.item()) if value.dtype.kind in PLAIN_KINDS else ""
    return ""


def _pandas(value, room):
    pandas = sys.modules.get("pandas")
    if pandas is None or not hasattr(pandas, "DataFrame"):
        return ""
    kind = type(value)
    if kind is pandas.DataFrame:
        return "DataFrame %d × %d: %s" % (
            value.shape[0],
            value.shape[1],
            ", ".join(preview(label, 30, 1) for label in list(value.columns[:12]))
            + (" …" if value.shape[1] > 12 else ""),
        )
    if kind is pandas.Series:
        return "Series of %d, %s" % (len(value), _dtype(value.dtype))
    if kind in (pandas.Index, pandas.RangeIndex, pandas.DatetimeIndex):
        return "%s of %d, %s" % (kind.__name__, len(value), _dtype(value.dtype))
    if kind in (pandas.Timestamp, pandas.Timedelta):
        return str(value)
    return ""


def _dtype(dtype):
    # Extension types may come from anywhere; only numpy's and pandas' own are asked.
    module = type.__dict__["__module__"].__get__(type(dtype))
    if type(module) is str and module.split(".")[0] in ("numpy", "pandas"):
        return str(dtype)
    return type_name(dtype)


def _polars(value, room):
    polars = sys.modules.get("polars")
    if polars is None or not hasattr(polars, "DataFrame"):
        return ""
    if type(value) is polars.DataFrame:
        return "polars DataFrame %d × %d: %s" % (value.height, value.width, ", ".join(value.columns[:12]))
    if type(value) is polars.Series:
        return "polars Series of %d, %s" % (value.len(), value.dtype)
    return ""


def _torch(value, room):
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "Tensor") and type(value) is torch.Tensor:
        return f"tensor {tuple(value.shape)} {value.dtype} on {value.device}"
    return ""


# -- the longer look ----------------------------------------------------------------


def describe(value):
    lines = [f"type: {type_name(value)}"]
    pandas = sys.modules.get("pandas")
    if pandas is not None and hasattr(pandas, "DataFrame") and type(value) is pandas.DataFrame:
        return "\n".join(lines + _frame(value))
    if type(value) is dict:
        lines.append("%d items" % len(value))
        shown = [key for key in list(value)[:50] if _plain(key)]
        lines += [f"  {preview(key, 60, 1)}: {preview(value[key], 200)}" for key in shown]
    elif type(value) in (list, tuple, set, frozenset):
        lines.append("%d items" % len(value))
        lines += [f"  {preview(item, 200)}" for item in itertools.islice(value, 50)]
    elif type(value) is str:
        lines += ["%d characters" % len(value), value[:4000]]
    elif type(value) is type(_code):
        lines += [_code(value), *_doc(value.__doc__)]
    elif type(value) is type:
        lines += [f"class {class_name(value)}", *_doc(type.__getattribute__(value, "__dict__").get("__doc__"))]
    else:
        text = preview(value, 2000)
        lines += [text] if not text.startswith("<") else _attributes(value)
    return "\n".join(lines)


def _doc(doc):
    return [doc[:2000]] if type(doc) is str else []


def _attributes(value):
    try:
        own = object.__getattribute__(value, "__dict__")
    except AttributeError:
        own = None
    if type(own) is not dict or not own:
        return ["(nothing more can be said without running its own code)"]
    shown = [name for name in list(own)[:50] if type(name) is str]
    return [f"  .{name}: {preview(own[name], 200)}" for name in shown]


def _frame(frame):
    lines = ["%d rows × %d columns" % frame.shape, "columns:"]
    columns = list(range(min(frame.shape[1], 60)))
    dtypes = list(frame.dtypes)
    for j in columns:
        lines.append(f"  {preview(frame.columns[j], 60, 1)}  {_dtype(dtypes[j])}")
    if len(columns) < frame.shape[1]:
        lines.append("  … %d more" % (frame.shape[1] - len(columns)))
    known = [j for j in columns[:12] if _dtype(dtypes[j]) != type_name(dtypes[j])]
    if frame.shape[0] and known:
        lines.append("first rows:")
        lines.append("  " + " | ".join(preview(frame.columns[j], 30, 1) for j in known))
        for i in range(min(5, frame.shape[0])):
            lines.append("  " + " | ".join(preview(frame.iat[i, j], 30, 1) for j in known))
    return lines
