// A page, an echo of whatever is posted, and an echo over WebSocket, with nothing but what Node brings along.
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { readFileSync } from "node:fs";

const page = readFileSync("page.html");

const server = createServer((request, response) => {
  if (request.method === "POST") {
    request.pipe(response);
    return;
  }
  response.writeHead(200, { "content-type": "text/html", "content-length": page.length });
  response.end(page);
});

server.on("upgrade", (request, socket, head) => {
  const key = request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  const accept = createHash("sha1").update(key).digest("base64");
  socket.write(
    "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n" +
      `sec-websocket-accept: ${accept}\r\n\r\n`,
  );
  socket.on("error", () => {});
  let input = head;
  const take = (bytes) => {
    input = Buffer.concat([input, bytes]);
    for (;;) {
      // Whole, masked frames of less than 64 KiB are all that come.
      if (input.length < 2) return;
      const length = input[1] & 127;
      const begin = length === 126 ? 4 : 2;
      if (input.length < begin + 4) return;
      const size = length === 126 ? input.readUInt16BE(2) : length;
      const end = begin + 4 + size;
      if (input.length < end) return;
      const body = Buffer.from(input.subarray(begin + 4, end));
      for (let at = 0; at < size; at++) body[at] ^= input[begin + (at & 3)];
      const header = size < 126 ? Buffer.from([input[0], size]) : Buffer.from([input[0], 126, size >> 8, size & 255]);
      socket.write(Buffer.concat([header, body]));
      // The other side's farewell has been answered with the same.
      if ((input[0] & 15) === 8) return socket.end();
      input = input.subarray(end);
    }
  };
  socket.on("data", take);
  take(Buffer.alloc(0));
});

server.listen(Number(process.env.PORT ?? 3000));
