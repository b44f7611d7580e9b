"""What programs that know of no proxy get: prints one line for each question."""
import socket
import ssl
import sys


def outcome(ask):
    try:
        data = ask()
        return "got " + data.decode("latin1").strip() if data else "closed"
    except socket.gaierror:
        return "noname"
    except ConnectionResetError:
        return "reset"
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "timeout"
    except OSError as error:
        return "error " + str(error)


def hello(name):
    out = ssl.MemoryBIO()
    context = ssl.create_default_context()
    if name == "-":
        context.check_hostname = False
        name = None
    tls = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return out.read()


def tcp(host, port, say):
    with socket.create_connection((host, int(port)), timeout=30) as stream:
        if say:
            stream.sendall(say)
        # Bytes come in whatever pieces they were carried.
        said = stream.recv(200)
        while said and b"\n" not in said:
            more = stream.recv(200)
            if not more:
                break
            said += more
        return said


def udp(host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as stream:
        stream.settimeout(30)
        stream.connect((host, int(port)))
        stream.send(b"x")
        return stream.recv(200)


for question in sys.argv[1:]:
    kind, host, port, *rest = question.split(",")
    if kind == "udp":
        print(outcome(lambda: udp(host, port)))
        continue
    say = {
        "raw": lambda: b"",
        "echo": lambda: b"echo me\n",
        "http": lambda: b"GET / HTTP/1.1\r\nHost: " + rest[0].encode() + b"\r\n\r\n",
        "tls": lambda: hello(rest[0]),
    }[kind]()
    print(outcome(lambda: tcp(host, port, say)))
