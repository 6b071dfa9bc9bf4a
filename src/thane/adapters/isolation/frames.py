"""The isolation program's frames, as this side writes and reads them.

The program imports nothing of Thane and Thane imports nothing of it, so the format is
written down twice, on purpose; docs/isolation.md is the contract and a test holds the
two together.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import msgspec

from thane.kernel.ports.isolation import (
    Context,
    Home,
    Job,
    Limits,
    Listing,
    ProducedFile,
    Sample,
    Template,
    TierReport,
    Usage,
    Verdict,
)

VERSION = 1
_LENGTHS = struct.Struct("!II")

Header = dict[str, Any]


def encode(header: Header, body: bytes = b"") -> bytes:
    text = msgspec.json.encode(header)
    return _LENGTHS.pack(len(text), len(body)) + text + body


async def read(reader: asyncio.StreamReader) -> tuple[Header, bytes]:
    """The next frame. Raises EOFError when the program is gone."""
    try:
        header_length, body_length = _LENGTHS.unpack(await reader.readexactly(_LENGTHS.size))
        header: Header = msgspec.json.decode(await reader.readexactly(header_length))
        return header, await reader.readexactly(body_length)
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise EOFError("the isolation program closed the connection") from error


def _template(template: Template | None) -> Header | None:
    if template is None:
        return None
    return {"packages": str(template.packages.absolute()), "imports": list(template.imports)}


def run_frame(job: Job) -> tuple[Header, bytes]:
    """The `run` request: a description, and code, standard input and files one after the other."""
    limits = job.limits
    header: Header = {
        "t": "run",
        "job": {
            "id": job.id,
            "sandbox_id": job.sandbox_id,
            "context": job.context,
            "share": job.share,
            "template": _template(job.template),
            "language": job.language,
            "minimum_tier": str(job.minimum_tier),
            "limits": _plain(limits),
            "env": job.env,
            "collect": job.collect,
            "jail": job.jail,
            "continues": job.continues,
            "sample_ms": job.sample_ms,
            "code_size": len(job.code),
            "stdin_size": len(job.stdin),
            "files": [{"name": file.name, "size": len(file.content)} for file in job.files],
        },
    }
    return header, b"".join((job.code, job.stdin, *(file.content for file in job.files)))


def write_frame(home: Home, name: str) -> Header:
    """The `file.write` request, whose body is the file."""
    made = {
        "sandbox_id": home.sandbox_id,
        "jail": home.jail,
        "minimum_tier": str(home.minimum_tier),
        "limits": _plain(home.limits),
        "template": _template(home.template),
    }
    return {"t": "file.write", "name": name, "home": made}


def _plain(limits: Limits) -> dict[str, int]:
    return {name: getattr(limits, name) for name in limits.__struct_fields__}


def listing(value: object) -> Listing:
    return msgspec.convert(value, Listing)


def verdict(value: object) -> Verdict:
    """The program's verdict as the port's type. Raises msgspec.ValidationError on anything else."""
    return msgspec.convert(value, Verdict)


def files(value: object) -> tuple[ProducedFile, ...]:
    return msgspec.convert(value, tuple[ProducedFile, ...])


def sample(header: Header) -> Sample:
    usage = msgspec.convert(header["usage"], Usage)
    return Sample(at_us=header["at_us"], usage=usage, memory_bytes=header["memory_bytes"])


def contexts(value: object) -> tuple[Context, ...]:
    return msgspec.convert(value, tuple[Context, ...])


def tiers(value: object) -> tuple[TierReport, ...]:
    return msgspec.convert(value, tuple[TierReport, ...])
