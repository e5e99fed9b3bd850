# SPDX-License-Identifier: Apache-2.0
"""Quotas under 64 client processes over TCP: some flood, some are greedy, some are killed."""

import json
import os
import random
import subprocess
import threading
import time
import unittest

from program import OK, ProgramTest

LOAD = os.environ["GODBOX_QUOTA_LOAD"]
MIB = 1 << 20
# The first floods with a quota as large as the pool, the second with a small one.
QUOTAS = {"calm-a": 96 * MIB, "calm-b": 96 * MIB, "flood": 512 * MIB, "flood-small": 24 * MIB,
          "greedy": 16 * MIB, "doomed": 128 * MIB}
CLIENTS = {"calm-a": 10, "calm-b": 10, "flood": 10, "flood-small": 6, "greedy": 12, "doomed": 16}
POOL = "512MiB"
assert sum(CLIENTS.values()) == 64
FLOOD_HOLDS_MIN = 0.2  # of its quota, or it was no flood
KILL_PAUSE_SECONDS = 0.1
STATUS_PAUSE_SECONDS = 0.25
# Connected, and done after its time is over.
CLIENT_SECONDS_MORE = 60
END_SECONDS_MAX = 5
SEED = 1


def role_of(tenant):
    return tenant.split("-")[0]


class LoadClient:
    """One process of quota_load. A thread reads what it says."""

    def __init__(self, address, tenant, number, seconds, role=None):
        self.tenant = tenant
        self.number = number
        self.begun = 0
        self.lines = []
        self.is_ready = threading.Event()
        self.process = subprocess.Popen(
            [LOAD, address, tenant, role or role_of(tenant), str(number), str(seconds), str(SEED)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            if line == "B\n":
                self.begun += 1
            else:
                self.lines.append(line)
            self.is_ready.set()

    def stop(self):
        """However the test goes."""
        if self.process.poll() is None:
            self.process.kill()
            self.end()

    def end(self):
        """Its exit status, and the JSON that it ended with."""
        self.process.wait(timeout=CLIENT_SECONDS_MORE)
        self.reader.join()
        errors = self.process.stderr.read()
        self.process.stderr.close()
        self.process.stdout.close()
        found = json.loads(self.lines[-1]) if self.lines and self.lines[-1][0] == "{" else None
        return self.process.returncode, found, errors


class QuotaTest(ProgramTest):
    def load_client(self, *arguments):
        client = LoadClient(*arguments)
        self.addCleanup(client.stop)
        return client

    @staticmethod
    def address_of_port(server, number):
        ports = server.ready["eth_ports"]
        return ports[number % len(ports)]

    def check_quotas(self, seconds):
        options = [word for tenant, quota in QUOTAS.items()
                   for word in ("--tenant-quota", f"{tenant}={quota // MIB}MiB")]
        with self.server("--backing-limit", POOL, *options) as server:
            watcher = self.load_client(self.address_of_port(server, 0), ",".join(QUOTAS), 0,
                                       seconds + 3, "watch")
            tenants = [tenant for tenant, count in CLIENTS.items() for _ in range(count)]
            clients = [
                self.load_client(self.address_of_port(server, number), tenant, number, seconds)
                for number, tenant in enumerate(tenants)]
            for client in clients:
                self.assertTrue(client.is_ready.wait(CLIENT_SECONDS_MORE), client.tenant)
            killed = self.kill_some(server, clients, seconds)
            ends = [(client, *client.end()) for client in clients]
            watched = watcher.end()
            self.check_sessions_end(server)
            left = self.run_json("status", "--connect", server.address)
            audits = {tenant: self.load_client(server.address, tenant, 0, 0, "audit").end()
                      for tenant in QUOTAS}
            self.assertEqual(server.stop(), OK, server.errors)
        self.check_clients(ends)
        self.check_watched(watched)
        self.check_audits(audits, left)
        self.assertGreaterEqual(killed, seconds / 2)
        print(json.dumps({"seconds": seconds, "killed": killed,
                          "watched": [{what: tenant[what] for what in (
                              "tenant", "looks", "quota_bytes", "reserved_bytes_max",
                              "held_bytes_max")} for tenant in watched[1]["tenants"]],
                          "answers": self.answers(ends)}), flush=True)

    def kill_some(self, server, clients, seconds):
        """In the middle of a put, again and again; another takes the place of each."""
        dice = random.Random(SEED)
        killed = 0
        end = time.monotonic() + seconds
        next_status = 0
        while time.monotonic() < end - 1:
            time.sleep(KILL_PAUSE_SECONDS)
            if time.monotonic() >= next_status:
                next_status = time.monotonic() + STATUS_PAUSE_SECONDS
                self.check_status(self.run_json("status", "--connect", server.address))
            mid_put = [at for at, client in enumerate(clients)
                       if client.tenant == "doomed" and client.begun > 0]
            if not mid_put:
                continue
            at = dice.choice(mid_put)
            victim = clients[at]
            begun = victim.begun
            deadline = time.monotonic() + 1
            while victim.begun == begun and time.monotonic() < deadline:
                time.sleep(0.001)
            victim.process.kill()
            victim.end()
            killed += 1
            clients[at] = self.load_client(
                self.address_of_port(server, victim.number), victim.tenant, victim.number,
                max(1, int(end - time.monotonic())))
        return killed

    def check_status(self, status):
        for tenant in status["tenants"]:
            if tenant["name"] in QUOTAS:
                self.assertLessEqual(tenant["reserved_bytes"], QUOTAS[tenant["name"]], tenant)

    def check_sessions_end(self, server):
        status = {}
        deadline = time.monotonic() + END_SECONDS_MAX
        while time.monotonic() < deadline:
            status = self.run_json("status", "--connect", server.address)
            if (status["sessions"], status["leases"], status["reservations"],
                    status["quarantined"]) == (1, 0, 0, 0):
                return
            time.sleep(0.05)
        self.fail(f"clients have gone, and this is left: {status}")

    def check_clients(self, ends):
        for client, status, found, errors in ends:
            self.assertEqual(status, OK, f"{client.tenant}: {found} {errors}")
            self.assertEqual(found["violations"], 0, found)
        answers = self.answers(ends)
        for what in ("calm:put:ok", "calm:get:ok", "calm:remove:ok", "flood:put:ok",
                     "flood:leased:present_unleased", "flood:retain:quota_exceeded",
                     "greedy:put:ok", "greedy:put:quota_exceeded", "greedy:beyond:quota_exceeded",
                     "doomed:layer:ok"):
            self.assertGreater(answers.get(what, 0), 0, f"{what} never came: {answers}")

    @staticmethod
    def answers(ends):
        total = {}
        for client, _, found, _ in ends:
            for what, times in found["answers"].items():
                key = f"{role_of(client.tenant)}:{what}"
                total[key] = total.get(key, 0) + times
        return dict(sorted(total.items()))

    def check_watched(self, watched):
        status, found, errors = watched
        self.assertEqual(status, OK, f"{found} {errors}")
        by_name = {tenant["tenant"]: tenant for tenant in found["tenants"]}
        for name, quota in QUOTAS.items():
            tenant = by_name[name]
            self.assertEqual((tenant["violations"], tenant["quota_bytes"]), (0, quota), tenant)
            self.assertGreater(tenant["looks"], 100, tenant)
        # Quotas that nobody comes near hold nothing.
        for name in ("flood-small", "greedy"):
            self.assertGreater(by_name[name]["reserved_bytes_max"], 0.9 * QUOTAS[name], name)
        self.assertGreater(by_name["flood"]["held_bytes_max"], FLOOD_HOLDS_MIN * QUOTAS["flood"])

    def check_audits(self, audits, left):
        """What is used after all have gone is what can be read, byte by byte."""
        for tenant, (status, found, errors) in audits.items():
            self.assertEqual(status, OK, f"{tenant}: {found} {errors}")
        used = {tenant["name"]: tenant["reserved_bytes"] for tenant in left["tenants"]}
        for tenant, (_, found, _) in audits.items():
            self.assertEqual(found["audited_bytes"], used.get(tenant, 0), tenant)

    def test_short(self):
        self.check_quotas(6)

    def test_long(self):
        self.check_quotas(20)


if __name__ == "__main__":
    unittest.main()
