"""A worker in Python that speaks tine's own protocol: tine run -i 3 examples/workers/worker.py 0.0.0.0:8003"""
import array, contextlib, json, os, select, socket, sys

channel = socket.socket(fileno=int(os.environ.pop("TINE_CHANNEL_FD").split(":")[0]))
channel.set_inheritable(False)
rest, arrived, seats = b"", [], []

def say(**line):
    channel.sendall(json.dumps(line).encode() + b"\n")

def lines():
    global rest
    data, control, flags, _ = channel.recvmsg(65536, socket.CMSG_SPACE(64))
    fds = [fd for _, _, rights in control for fd in array.array("i", rights[: len(rights) & ~3])]
    arrived.extend(fds or [None] * bool(flags & socket.MSG_CTRUNC))
    *whole, rest = (rest + data).split(b"\n") if data else sys.exit("the primary has gone")
    for line in map(json.loads, whole):
        yield line, arrived.pop(0) if line.get("fds") else None

def answer(client):
    with client, contextlib.suppress(OSError):
        client.setblocking(True)
        client.recv(65536)
        client.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\npython %d\n" % os.getpid())

def obey(type, key=None, connection=None, seq=None, errno=0, fd=None, **_):
    if type in ("error", "stop"):
        sys.exit(errno and f"cannot listen: {os.strerror(errno)}")
    if type == "seat":
        seats.append(socket.socket(fileno=fd))
        seats[-1].setblocking(False)
    if type == "connection":
        say(type="took", connection=connection, accepted=fd is not None)
        if fd is not None:
            answer(socket.socket(fileno=fd))
    if type == "message" and seq is not None:
        say(type="reply", seq=seq, message="I am worker " + os.environ["TINE_WORKER_ID"])

say(type="hello", version=1, pid=os.getpid())
say(type="listen", seq=1, socket="tcp", address=sys.argv[1])
while True:
    for ready in select.select([channel, *seats], [], [])[0]:
        for line, fd in lines() if ready is channel else ():
            obey(fd=fd, **line)
        with contextlib.suppress(BlockingIOError):  # Another worker was quicker.
            ready is channel or answer(ready.accept()[0])
