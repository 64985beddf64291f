# What the test programs share: they answer whoever comes with their pid.
import os, select, socket, sys, threading


def listener(address, family=socket.AF_INET, kind=socket.SOCK_STREAM, options=(), blocking=True):
    made = socket.socket(family, kind)
    for option in options:
        made.setsockopt(*option)
    made.setblocking(blocking)
    made.bind(address)
    if kind != socket.SOCK_DGRAM:
        made.listen()
    return made


V6ONLY = (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
DUAL = (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)


def answer(on):
    me = str(os.getpid()).encode()
    if on.type == socket.SOCK_DGRAM:
        _, client = on.recvfrom(100)
        on.sendto(me, client)
        return
    client, _ = on.accept()
    with client:
        client.sendall(me)


def answer_all(on):
    while True:
        try:
            answer(on)
        except BlockingIOError:
            select.select([on], [], [])


def say(*words):
    os.write(1, (' '.join(map(str, words)) + '\n').encode())


# One thread for each: one that waits for its next client keeps nobody else from another.
def serve(*listeners):
    threads = [threading.Thread(target=answer_all, args=(on,), daemon=True) for on in listeners]
    for thread in threads:
        thread.start()
    say('ready')
    for thread in threads:
        thread.join()
