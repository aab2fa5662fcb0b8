"""Types of columns, by the names that databases and engines give them.

Invariant: a pure function of the name, in linear time. What engines call differently has one name
here; a name that isn't known is its own.
Source: https://openlineage.io/docs/spec/facets/dataset-facets/schema
"""

from __future__ import annotations

import re

_PARAMETERS = re.compile(r"\([^()]{0,100}\)|<[^<>]{0,100}>")
_WORDS = re.compile(r"[\s_]+")
_SAME_TYPES = {
    name: names[0]
    for names in (
        ("integer", "int", "int4", "int32", "serial", "mediumint"),
        ("bigint", "long", "int8", "int64", "bigserial"),
        ("smallint", "short", "int2", "int16", "tinyint", "byte"),
        ("text", "string", "varchar", "character varying", "char", "character", "bpchar"),
        ("text", "clob", "nvarchar", "nchar", "varchar2", "nvarchar2", "longtext", "mediumtext"),
        ("double", "double precision", "float8", "float64"),
        ("float", "real", "float4", "float32"),
        ("decimal", "numeric", "number", "bignumeric"),
        ("boolean", "bool", "bit"),
        ("timestamp", "datetime", "datetime2", "timestamp without time zone", "timestamp ntz"),
        ("timestamptz", "timestamp with time zone", "timestamp tz", "timestamp ltz"),
        ("binary", "bytea", "bytes", "varbinary", "blob"),
        ("json", "jsonb", "variant"),
        ("array", "list", "repeated"),
        ("struct", "record", "row", "object"),
    )
    for name in names
}


def one_name(said: str) -> str:
    """A type by the one name that it has here: without its parameters, in lower case."""
    plain = _WORDS.sub(" ", _PARAMETERS.sub("", said.lower())).strip()
    return _SAME_TYPES.get(plain, plain)
