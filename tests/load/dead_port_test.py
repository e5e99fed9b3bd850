# SPDX-License-Identifier: Apache-2.0
"""The Ethernet port that clients' control connections came through dies, flaps and heals."""

import json
import os
import signal
import time
import unittest

from program import OK, ProgramTest, wait_until
from quota_test import LoadClient

CLIENTS = 4
SECONDS = 6
PORT = 1
STEP_MS_MAX = 1000  # of a put, get or remove, whatever the port does


class DeadPortTest(ProgramTest):
    def set_fault(self, config, server, fault):
        config.write_text(f'port_faults = ["{PORT}={fault}"]\n' if fault else "port_faults = []\n")
        server.process.send_signal(signal.SIGHUP)
        self.assertTrue(wait_until(lambda: self.fault(server) == (fault or "healthy")))

    def fault(self, server):
        ports = self.run_json("status", "--connect", server.address)["eth_ports"]
        return ports[PORT].get("fault", "healthy")

    def test_control_port_dies(self):
        config = self.folder / "box.toml"
        config.write_text("port_faults = []\n")
        with self.server("--config", str(config), "--tenant-quota", "48MiB") as server:
            address = server.ready["eth_ports"][PORT]
            clients = []
            for number in range(CLIENTS):
                clients.append(LoadClient(address, "tenant", number, SECONDS, "calm"))
                self.addCleanup(clients[-1].stop)
            for client in clients:
                self.assertTrue(client.is_ready.wait(10))
            for fault, seconds in (("dead", 1.5), ("", 1), ("flap:100ms", 1), ("dead", 0.5)):
                self.set_fault(config, server, fault)
                time.sleep(seconds)
            ends = [client.end() for client in clients]
            self.set_fault(config, server, "")
            audit = LoadClient(server.address, "tenant", 0, 0, "audit").end()
            self.assertEqual(server.stop(), OK, server.errors)
        for status, found, errors in [*ends, audit]:
            self.assertEqual(status, OK, f"{found} {errors}")
        for _, found, _ in ends:
            self.assertGreaterEqual(found["sessions_resumed"], 1, found)
            self.assertLess(found["step_ms_max"], STEP_MS_MAX, found)
            self.assertGreater(found["answers"]["put:ok"], 10 * SECONDS, found)
        print(json.dumps([{what: found[what] for what in ("sessions_resumed", "step_ms_max",
                                                          "answers")} for _, found, _ in ends]),
              flush=True)


if __name__ == "__main__":
    unittest.main()
