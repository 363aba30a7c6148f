"""Packed columns: a block of rows as bytes, each column compressed by itself, and back."""

import zlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from scripts.core.errors import RecordsError

# The fastest level: the next ones take twice the time for a twentieth of the bytes.
LEVEL = 1
HEADER_BYTES = 4
SEPARATOR = "\0"
# Bytes of which none makes up this share of a column, the 32nd part, are taken for random.
RANDOM_SHARE = 32
# Numbers with up to so many decimals are stored as whole numbers.
MAX_DECIMALS = 4
# Beyond, a float no longer holds every whole number.
LARGEST_WHOLE = 2.0**53
INTEGERS: tuple[type[np.signedinteger[Any]], ...] = (np.int8, np.int16, np.int32, np.int64)
BYTES = np.dtype(np.uint8)

Column = NDArray[Any]


class CodedTexts(Struct, frozen=True):
    """Repeated texts: the different texts, and the position of each row's text among them."""

    texts: Sequence[str]
    codes: NDArray[Any]


class ColumnHeader(msgspec.Struct, frozen=True, array_like=True):
    """The name of a packed column, the kind, the numbers of rows and bytes, and a detail.

    The kind is a type of numpy for numbers as they are, "decimal" for floats as whole numbers,
    "text" for joined texts, "category" for numbered texts.
    """

    name: str
    kind: str
    n_rows: int
    n_bytes: int
    detail: Any = None


def is_random(plane: NDArray[np.uint8]) -> bool:
    """Return whether all bytes are about equally frequent, and compression would not pay."""
    return bool(np.bincount(plane).max() < len(plane) // RANDOM_SHARE)


def pack_numbers(values: Column) -> bytes:
    """Compress numbers byte by byte: the first bytes of all numbers before the second bytes.

    Bytes that look random follow as they are. The first byte of the result is their number: they
    are the lowest ones of a number.
    """
    size = values.dtype.itemsize
    rows = np.ascontiguousarray(values).view(BYTES).reshape(len(values), size)
    planes = np.ascontiguousarray(rows.T)
    n_random = 0
    while n_random < size - 1 and is_random(planes[n_random]):
        n_random += 1
    compressed = zlib.compress(planes[n_random:].tobytes(), LEVEL)
    return b"".join([bytes([n_random]), planes[:n_random].tobytes(), compressed])


def unpack_numbers(content: bytes, kind: str, n_rows: int) -> Column:
    """Return packed numbers."""
    dtype = np.dtype(kind)
    end = 1 + content[0] * n_rows
    planes = content[1:end] + zlib.decompress(content[end:])
    rows = np.frombuffer(planes, BYTES).reshape(dtype.itemsize, n_rows)
    return np.ascontiguousarray(rows.T).view(dtype).reshape(n_rows)


def find_decimals(values: Column) -> tuple[int, NDArray[np.float64]] | None:
    """Return the exact number of decimals of all floats, and the scaled whole numbers.

    None is returned if no small number of decimals does.
    """
    present = values[~np.isnan(values)]
    for n_decimals in range(MAX_DECIMALS + 1):
        scale = 10.0**n_decimals
        with np.errstate(over="ignore"):
            scaled = np.rint(present * scale)
        if (np.abs(scaled) < LARGEST_WHOLE).all() and (scaled / scale == present).all():
            return n_decimals, scaled
    return None


def pack_floats(name: str, values: Column) -> tuple[ColumnHeader, bytes]:
    """Pack floats: as the smallest whole numbers with decimals, or as they are."""
    found = find_decimals(values)
    if found is None:
        content = pack_numbers(values)
        return ColumnHeader(name, values.dtype.str, len(values), len(content)), content
    n_decimals, scaled = found
    largest = np.abs(scaled).max(initial=0)
    # The lowest number of a type stands for a missing value.
    dtype = next(np.dtype(kind) for kind in INTEGERS if largest <= np.iinfo(kind).max)
    whole = np.full(len(values), np.iinfo(dtype).min, dtype)
    whole[~np.isnan(values)] = scaled.astype(dtype)
    content = pack_numbers(whole)
    return ColumnHeader(
        name, "decimal", len(values), len(content), [dtype.str, n_decimals]
    ), content


def unpack_floats(content: bytes, n_rows: int, kind: str, n_decimals: int) -> NDArray[np.float64]:
    """Return floats packed as whole numbers."""
    whole = unpack_numbers(content, kind, n_rows)
    values = whole.astype(np.float64) / 10.0**n_decimals
    values[whole == np.iinfo(whole.dtype).min] = np.nan
    return values


def pack_texts(texts: Sequence[str]) -> bytes:
    """Compress texts without NUL in sequence."""
    joined = SEPARATOR.join(texts)
    if texts and joined.count(SEPARATOR) != len(texts) - 1:
        raise RecordsError("A text with the character NUL cannot be recorded.")
    return zlib.compress(joined.encode("utf-8", "surrogatepass"), LEVEL)


def join_texts(content: bytes) -> str:
    """Return packed texts as a single text with separators."""
    return zlib.decompress(content).decode("utf-8", "surrogatepass")


def unpack_texts(content: bytes, n_texts: int) -> list[str]:
    """Return packed texts."""
    return join_texts(content).split(SEPARATOR) if n_texts else []


def number_texts(values: Column) -> CodedTexts:
    """Number the different texts of a column."""
    texts = list(dict.fromkeys(values.tolist()))
    places = {text: place for place, text in enumerate(texts)}
    codes = np.fromiter((places[text] for text in values.tolist()), np.uint32, len(values))
    return CodedTexts(texts, codes)


def pack_coded(name: str, values: CodedTexts) -> tuple[ColumnHeader, bytes]:
    """Pack repeated texts: the different texts in the header, and a number per row."""
    present = np.flatnonzero(np.bincount(values.codes, minlength=len(values.texts)))
    place_of = np.zeros(len(values.texts), np.uint32)
    place_of[present] = np.arange(len(present))
    content = pack_numbers(place_of[values.codes])
    texts = [values.texts[code] for code in present.tolist()]
    return ColumnHeader(name, "category", len(values.codes), len(content), texts), content


def pack_joined(name: str, values: Column) -> tuple[ColumnHeader, bytes]:
    """Pack mostly different texts in sequence."""
    content = pack_texts(values.tolist())
    return ColumnHeader(name, "text", len(values), len(content)), content


def are_different(coded: CodedTexts) -> bool:
    """Return whether most texts of a column are different, and can be joined."""
    n_texts = len(coded.texts)
    return n_texts > len(coded.codes) // 2 and not any(SEPARATOR in text for text in coded.texts)


def pack_column(name: str, values: Column | CodedTexts) -> tuple[ColumnHeader, bytes]:
    """Pack a column by type."""
    if isinstance(values, CodedTexts):
        return pack_coded(name, values)
    if values.dtype == np.object_:
        coded = number_texts(values)
        return pack_joined(name, values) if are_different(coded) else pack_coded(name, coded)
    if values.dtype == np.float64:
        return pack_floats(name, values)
    content = pack_numbers(values)
    return ColumnHeader(name, values.dtype.str, len(values), len(content)), content


def pack(columns: Mapping[str, Column | CodedTexts]) -> bytes:
    """Pack columns of equal length, of a row or more.

    Parameters
    ----------
    columns : mapping of str to numpy.ndarray of shape (n_rows,), or CodedTexts
        Numbers, or texts of the type object.

    Returns
    -------
    bytes
        For `unpack`.
    """
    packed = [pack_column(name, values) for name, values in columns.items()]
    header = msgspec.msgpack.encode([head for head, _ in packed])
    parts = [content for _, content in packed]
    return b"".join([len(header).to_bytes(HEADER_BYTES, "little"), header, *parts])


def unpack_column(head: ColumnHeader, content: bytes) -> Column:
    """Return a packed column."""
    if head.kind == "decimal":
        return unpack_floats(content, head.n_rows, *head.detail)
    if head.kind == "category":
        return np.array(head.detail, dtype=object)[unpack_numbers(content, "<u4", head.n_rows)]
    if head.kind == "text":
        return np.array(unpack_texts(content, head.n_rows), dtype=object)
    return unpack_numbers(content, head.kind, head.n_rows)


def read_headers(content: bytes) -> tuple[list[ColumnHeader], int]:
    """Return the headers of packed columns, and the position of the first column."""
    start = HEADER_BYTES + int.from_bytes(content[:HEADER_BYTES], "little")
    return msgspec.msgpack.decode(content[HEADER_BYTES:start], type=list[ColumnHeader]), start


def unpack(content: bytes, wanted: Collection[str] | None = None) -> dict[str, Column]:
    """Return some or all packed columns.

    Parameters
    ----------
    content : bytes
        The result of `pack`.
    wanted : collection of str, optional
        Names of columns; others are not decompressed.

    Returns
    -------
    dict of str to numpy.ndarray of shape (n_rows,)
        The same values, bit for bit, but for the sign of zero.

    Raises
    ------
    RecordsError
        If the bytes are damaged.
    """
    try:
        heads, start = read_headers(content)
        columns = {}
        for head in heads:
            if wanted is None or head.name in wanted:
                part = content[start : start + head.n_bytes]
                columns[head.name] = unpack_column(head, part)
            start += head.n_bytes
    except (msgspec.DecodeError, zlib.error, ValueError, IndexError, TypeError) as error:
        raise RecordsError(f"A block of client scores is damaged: {error}.") from error
    return columns
