"""Text into the types of the log, on whole columns: what cannot be one is NULL and flagged."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.events.importing.mapping import Column, Source

_INTEGER = r"^[+-]?[0-9]+(\.0*)?$"
_FLOAT = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?$"
_TRUE = pa.array(["true", "t", "yes", "y", "1"])
_FALSE = pa.array(["false", "f", "no", "n", "0"])
_NO_TEXT = pa.scalar(None, pa.string())


class Cells(NamedTuple):
    """A column in its type.

    Attributes
    ----------
    values
        NULL where nothing stands, and where what stands cannot be one.
    bad
        bool, never NULL: where something stands that cannot be one.
    reason
        Of the bad ones.
    """

    values: pa.Array
    bad: pa.Array
    reason: str


def texts(column: pa.Array, source: Source, rule: Column) -> pa.Array:
    """Strip cells, make NULL what means not known, and replace the words that the mapping replaces."""
    if not pa.types.is_string(column.type):
        column = column.cast(pa.string())
    column = pc.utf8_trim_whitespace(column)
    nulls = pa.array(["", *source.null_values], pa.string())
    column = pc.if_else(pc.is_in(column, nulls), _NO_TEXT, column)
    if rule.values:
        words = pa.array(rule.values.keys(), pa.string())
        found = pc.index_in(column, words)
        column = pc.if_else(pc.is_valid(found), pa.array(rule.values.values(), pa.string()).take(found), column)
    if rule.kind == "integer":
        column = pc.replace_substring_regex(column, r"^\+?(-?)0*([0-9]+?)(\.0*)?$", r"\1\2")
    if rule.pad:
        column = pc.utf8_lpad(column, rule.pad, "0")
    return pc.binary_join_element_wise(rule.prefix, column, "") if rule.prefix else column


def strings(column: pa.Array) -> Cells:
    """Texts as they are; a NUL character is none."""
    bad = pc.fill_null(pc.match_substring(column, "\0"), False)
    return Cells(_without(column, bad), bad, "nul_character")


def integers(column: pa.Array, source: Source) -> Cells:
    """Whole numbers; up to 18 digits, beyond which the log's range has ended anyway."""
    column = _numerals(column, source)
    ok = pc.and_(
        pc.match_substring_regex(column, _INTEGER), pc.match_substring_regex(column, r"^[+-]?[0-9]{1,18}(\.|$)")
    )
    bad = pc.fill_null(pc.invert(ok), False)
    plain = pc.replace_substring_regex(_without(column, bad), r"^\+|\.0*$", "")
    return Cells(plain.cast(pa.int64()), bad, "not_an_integer")


def floats(column: pa.Array, source: Source) -> Cells:
    """Finite numbers."""
    column = _numerals(column, source)
    bad = pc.fill_null(pc.invert(pc.match_substring_regex(column, _FLOAT)), False)
    plain = pc.replace_substring_regex(_without(column, bad), r"^\+", "")
    values = plain.cast(pa.float64())
    endless = pc.fill_null(pc.invert(pc.is_finite(values)), False)
    return Cells(pc.if_else(endless, pa.scalar(None, pa.float64()), values), pc.or_(bad, endless), "not_a_number")


def booleans(column: pa.Array) -> Cells:
    """Yes or no, in the usual words."""
    word = pc.utf8_lower(column)
    yes, no = pc.is_in(word, _TRUE), pc.is_in(word, _FALSE)
    bad = pc.and_(pc.is_valid(column), pc.invert(pc.or_(yes, no)))
    return Cells(pc.if_else(pc.or_(yes, no), yes, pa.scalar(None, pa.bool_())), bad, "not_true_or_false")


def _numerals(column: pa.Array, source: Source) -> pa.Array:
    if source.thousands:
        column = pc.replace_substring(column, source.thousands, "")
    return pc.replace_substring(column, ",", ".") if source.decimal == "," else column


def _without(column: pa.Array, bad: pa.Array) -> pa.Array:
    return pc.if_else(bad, _NO_TEXT, column)
