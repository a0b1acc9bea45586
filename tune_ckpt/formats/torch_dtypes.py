"""torch's dtypes by name, and what they are in NumPy; a new one is one new row."""

from __future__ import annotations

# A torch dtype's name: the dtype of the array that it becomes.
PLAIN = {
    "bool": "|b1",
    "uint8": "|u1",
    "int8": "|i1",
    **{
        f"{kind}{bits}": f"<{kind[0]}{bits // 8}"
        for kind in ("int", "uint")
        for bits in (16, 32, 64)
    },
    **{f"float{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
    "complex64": "<c8",
    "complex128": "<c16",
}
# Those that NumPy lacks: ml_dtypes has them by the same names. The torch dtype carries their bits.
CARRIERS = {"bfloat16": "int16"} | dict.fromkeys(
    ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
    "uint8",
)
