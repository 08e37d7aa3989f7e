"""Files on web servers. What a server answers goes to memory whole in places, so it must end."""

from __future__ import annotations

from typing import Any

import aiohttp

# Files are read block by block, of 5 MB; nothing else that is asked of a server, such as a list of files, is nearly as large.
MAX_ANSWER_BYTES = 64 * 2**20


class _Bounded(aiohttp.ClientResponse):
    async def read(self) -> bytes:
        """The whole answer. OSError where it is longer than a server was asked for, or than any list of files."""
        if self._body is None:
            body = bytearray()
            async for block in self.content.iter_any():
                body += block
                if len(body) > MAX_ANSWER_BYTES:
                    self.close()
                    raise OSError(f"{self.url.host} sent more than {MAX_ANSWER_BYTES // 2**20} MiB where less was asked for")
            self._body = bytes(body)
        return self._body


async def bounded_session(loop: object = None, **how: Any) -> aiohttp.ClientSession:  # noqa: ARG001 - fsspec's signature
    """A session for fsspec's filesystem of web servers, whose answers end."""
    return aiohttp.ClientSession(response_class=_Bounded, **how)
