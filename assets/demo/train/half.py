"""Rounds the F32 tensors of safetensors files to F16: python half.py SOURCE TARGET. Needs nothing but Python."""

import json
import struct
import sys
from pathlib import Path


def half(source: bytes) -> bytes:
    (length,) = struct.unpack_from("<Q", source)
    header = json.loads(source[8 : 8 + length])
    data = source[8 + length :]
    body = bytearray()
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        start, end = entry["data_offsets"]
        assert entry["dtype"] == "F32", f"{name} is {entry['dtype']}"
        count = (end - start) // 4
        begin = len(body)
        body += struct.pack(f"<{count}e", *struct.unpack(f"<{count}f", data[start:end]))
        header[name] = {"dtype": "F16", "shape": entry["shape"], "data_offsets": [begin, len(body)]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(body)


Path(sys.argv[2]).write_bytes(half(Path(sys.argv[1]).read_bytes()))
