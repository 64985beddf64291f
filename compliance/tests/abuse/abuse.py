import array, itertools, json, os, socket, sys, time

what, address = sys.argv[1:]
if os.environ["TINE_INSTANCE"] != "1" or what == "nothing":
    os.execv("./worker", ["worker", address])

channel = socket.socket(fileno=int(os.environ["TINE_CHANNEL_FD"].split(":")[0]))


def line(**message):
    return json.dumps(message).encode() + b"\n"


def flood(lines):
    """As fast as they are read, and never reading oneself."""
    print("begins", flush=True)
    for text in lines:
        channel.sendall(text)


def many(one):
    return itertools.repeat(one * (65536 // len(one) + 1))


def listens(socket):
    for number in itertools.count():
        wanted = {"socket": socket, "address": "127.0.0.1:0", "index": number}
        yield line(type="listen", seq=number, **wanted)


channel.sendall(line(type="hello", version=1, pid=os.getpid()))
if what == "weather":
    flood(many(line(type="weather", sky=["blue"])))
if what == "answers":
    flood(line(type="took", connection=n, accepted=n % 2 == 0) for n in itertools.count())
if what == "closes":
    flood(b"".join(line(type="close", key=f"h{n}") for n in range(n, n + 64))
          for n in itertools.cycle(range(0, 640, 64)))
if what == "questions":
    flood(many(line(type="listen", seq=1, socket="unix", path="/no/such/folder/x")))
if what == "listeners":
    flood(listens("tcp"))
if what == "datagrams":
    flood(listens("udp"))
if what == "descriptors":
    print("begins", flush=True)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0] * 20))]
    while True:
        channel.sendmsg([line(type="weather")], rights)
if what == "crumbs":
    flood(itertools.cycle([b"{", b"\"type\":", b"\"weather\"", b"}", b"\n"]))
if what == "lies":
    # It listens, closes at once what it is given, and says of every number that it has taken it.
    channel.sendall(line(type="listen", seq=1, socket="tcp", address=address))
    print("begins", flush=True)
    for number in itertools.count():
        data, rights, _, _ = socket.recv_fds(channel, 65536, 16)
        for one in rights:
            os.close(one)
        if not data:
            break
        for lie in range(number, number + 8):
            channel.sendall(line(type="took", connection=lie, accepted=True))
        channel.sendall(line(type="close", key=f"h{number + 2}"))
        channel.sendall(line(type="close", key="never given"))
time.sleep(600)
