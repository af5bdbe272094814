"""A vendor that takes every message after five milliseconds.

python vendor.py PORT [CERTIFICATE KEY]
"""

import asyncio
import ssl
import sys

ANSWER_SECONDS = 0.005
BODY = b'{"Code":"OK","Message":"OK","BizId":"900619746936498440^0","RequestId":"1"}'
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    % len(BODY)
) + BODY


class Vendor(asyncio.Protocol):
    """Answers every request without a body, on as many connections as come."""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        for _ in range(data.count(b"\r\n\r\n")):
            later = asyncio.get_running_loop().call_later
            later(ANSWER_SECONDS, self._answer)

    def _answer(self):
        if not self.transport.is_closing():
            self.transport.write(ANSWER)


async def main(port, *certificate):
    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certificate)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Vendor, "127.0.0.1", int(port), ssl=context)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
