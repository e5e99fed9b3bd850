#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Stands for QEMU with a guest that is ready at once: it answers the machine protocol and the guest
protocol (docs/vm.md), and runs nothing. Like QEMU 10 it keeps the memory of what is unplugged. A
guest's command whose text has a word of the environment's FAKE_GUEST_HANGS ends when it is told to;
FAKE_GUEST_STATUSES, a JSON object, says what others end with, by a word; 0 without. One that fails
says so on standard error. What was asked is in the file FAKE_GUEST_LOG. The guest is ready after
FAKE_GUEST_BOOT_S seconds, 0 without."""

import base64
import json
import os
import re
import select
import socket
import sys
import time


def main():
    line = " ".join(sys.argv[1:])
    if "--version" in line:
        print("QEMU emulator version 10.0.2 (fake)")
        return
    if "cxl-type3,help" in line:
        print("  volatile-memdev=<link>")
        return
    links = {name: socket.socket(fileno=int(number))
             for name, number in re.findall(r"socket,id=(\w+),fd=(\d+)", line)}
    control, qmp = links["control"], links["qmp"]
    hanging, devices = os.environ.get("FAKE_GUEST_HANGS", ""), set()
    statuses = json.loads(os.environ.get("FAKE_GUEST_STATUSES", "{}"))
    log = open(os.environ["FAKE_GUEST_LOG"], "a", buffering=1, encoding="utf-8")
    qmp.sendall(b'{"QMP": {}}\n')
    time.sleep(float(os.environ.get("FAKE_GUEST_BOOT_S", "0")))
    control.sendall(b"kernel fake\nready\n")
    readers = {control: control.makefile("r"), qmp: qmp.makefile("r")}
    while True:
        for ready in select.select(list(readers), [], [])[0]:
            words = readers[ready].readline()
            if not words:
                return
            if ready is qmp:
                answer(qmp, json.loads(words), devices)
            elif not guest(links, words.split(), hanging, statuses, log):
                return


def answer(qmp, asked, devices):
    verb, given = asked["execute"], asked.get("arguments", {})
    reply = {"return": {}}
    if verb == "device_add":
        devices.add(given["id"])
    elif verb == "device_del":
        devices.discard(given["id"])
    elif verb == "qom-list":
        reply = {"return": [{"name": name} for name in devices]}
    elif verb == "object-del":
        reply = {"error": {"desc": "object is in use"}}
    qmp.sendall((json.dumps({**reply, "id": asked["id"]}) + "\n").encode())


def guest(links, words, hanging, statuses, log):
    control = links["control"]
    if words[0] == "poweroff":
        return False
    if words[0] == "kill":
        log.write(f"kill {words[1]}\n")
        control.sendall(f"exit {words[1]} 143\n".encode())
        return True
    text = base64.b64decode(words[2]).decode()
    beside = "beside " if words[0] == "beside" else ""
    log.write(f"{beside}{words[1]} {json.dumps(text.splitlines()[-1])}\n")
    if not (hanging and re.search(hanging, text)):
        status = next((value for word, value in statuses.items() if re.search(word, text)), 0)
        if status != 0:
            links["stderr"].sendall(f"first\nguest: failed with {status}\n".encode())
        control.sendall(f"exit {words[1]} {status}\n".encode())
    return True


if __name__ == "__main__":
    main()
