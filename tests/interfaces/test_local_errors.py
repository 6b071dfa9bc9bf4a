"""What a caller is told when nobody listens on the data folder's socket."""

from __future__ import annotations

from pathlib import Path

import pytest

from thane.interfaces.local import NobodyAnswers, UnixSocket

pytestmark = pytest.mark.anyio


async def test_a_socket_without_a_server_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NobodyAnswers, match="nobody answers") as caught:
        await UnixSocket(tmp_path / "thane.sock").call("GET", "/health")
    assert "thane serve" in caught.value.hint
