# SPDX-License-Identifier: Apache-2.0
import os
import signal
import socket
import subprocess
import time
import unittest

import program
from program import IN_USE, OK, ProgramTest


class ServeTest(ProgramTest):
    def test_the_ready_line_describes_the_box(self):
        with self.server("--channels", "9", "--ports", "3") as server:
            ready = server.ready
            self.assertIs(ready["ready"], True)
            self.assertEqual(ready["dram_channels"], 9)
            self.assertEqual(len(ready["eth_ports"]), 3)
            self.assertTrue(all(a.startswith("tcp:127.0.0.1:") for a in ready["eth_ports"]))
            self.assertEqual(ready["control_socket"], str(server.socket))
            self.assertEqual(ready["capacity_bytes"], 9 * (256 << 20))
            self.assertEqual(ready["backing_limit_bytes"], 256 << 20)
            self.assertEqual(ready["mode"], "free")
            self.assertEqual(ready["pid"], server.process.pid)

    def test_sigterm_and_sigint_stop_it_cleanly(self):
        for with_signal in (signal.SIGTERM, signal.SIGINT):
            with self.server() as server:
                self.assertTrue(server.socket.exists())
                self.assertEqual(server.stop(with_signal), OK)
                self.assertFalse(server.socket.exists())
                self.assertEqual(server.errors, "")

    def test_it_stops_with_clients_connected(self):
        with self.server() as server:
            host, port = server.ready["eth_ports"][0].split(":")[1:]
            with socket.create_connection((host, int(port))):
                self.assertEqual(server.stop(), OK)

    def test_a_full_size_box_starts_in_seconds(self):
        begin = time.monotonic()
        with self.server("--preset", "emfasys18") as server:
            took = time.monotonic() - begin
            self.assertEqual(server.ready["capacity_bytes"], 18 << 40)
            self.assertLess(took, 5)

    def test_a_second_server_on_the_socket_is_refused_by_name(self):
        with self.server() as server:
            self.assert_fails(
                ["serve", *program.SMALL_BOX, "--control-socket", server.socket], IN_USE,
                str(server.socket))
            self.run_program("status", "--connect", server.address)  # the first one still serves

    def test_a_second_server_on_the_tcp_port_is_refused_by_name(self):
        with self.server() as server:
            port = server.ready["eth_ports"][0].rsplit(":", 1)[1]
            self.assert_fails(
                ["serve", *program.SMALL_BOX, "--control-socket", self.folder / "other.sock",
                 "--tcp-port-base", port], IN_USE, port)
            self.assertFalse((self.folder / "other.sock").exists())

    def test_a_socket_left_by_a_killed_server_is_taken_over(self):
        with self.server() as server:
            server.process.kill()
            server.process.wait()
            self.assertTrue(server.socket.exists())
        with self.server() as server:
            self.assertEqual(server.stop(), OK)

    def test_without_json_it_prints_a_table(self):
        process = subprocess.Popen(
            [program.PROGRAM, "serve", *program.SMALL_BOX, "--control-socket",
             str(self.folder / "control.sock")], stdout=subprocess.PIPE, text=True)
        try:
            lines = [process.stdout.readline()]
            while "Ctrl-C" not in lines[-1] and lines[-1]:
                lines.append(process.stdout.readline())
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=program.STOP_SECONDS_MAX)
        text = "".join(lines)
        for word in ("DRAM channels", "18 x 256 MiB", "Ethernet ports", "control.sock"):
            self.assertIn(word, text)
        self.assertEqual(process.returncode, OK)

    def test_a_ready_line_that_nobody_can_read_ends_it(self):
        with open("/dev/full", "wb") as full:
            result = subprocess.run(
                [program.PROGRAM, "serve", "--json", *program.SMALL_BOX, "--control-socket",
                 str(self.folder / "control.sock")], stdout=full, stderr=subprocess.PIPE,
                timeout=program.START_SECONDS_MAX)
        self.assertEqual(result.returncode, program.FAILURE, result.stderr)
        self.assertIn(b"No space left on device", result.stderr)

    def test_a_closed_standard_error_is_no_memory_of_the_box(self):
        process = subprocess.Popen(
            [program.PROGRAM, "serve", "--json", *program.SMALL_BOX, "--control-socket",
             str(self.folder / "control.sock")], stdout=subprocess.PIPE,
            preexec_fn=lambda: os.close(2))
        try:
            self.assertIn(b"ready", process.stdout.readline())
            self.assertEqual(os.readlink(f"/proc/{process.pid}/fd/2"), "/dev/null")
        finally:
            process.terminate()
            process.communicate(timeout=program.STOP_SECONDS_MAX)
        self.assertEqual(process.returncode, OK)

    def test_a_configuration_file_makes_the_box(self):
        config = self.folder / "box.toml"
        config.write_text('preset = "laptop"\nname = "from-file"\nsuper_nics = 2\n')
        with self.server("--config", str(config)) as server:
            self.assertEqual(server.ready["name"], "from-file")
            self.assertEqual(server.ready["super_nics"], 2)
            self.assertEqual(server.ready["dram_channels"], 4)

    def test_paced_mode_and_time_scale_are_told(self):
        with self.server("--mode", "paced", "--time-scale", "1000") as server:
            self.assertEqual(server.ready["mode"], "paced")
            self.assertEqual(server.ready["time_scale"], 1000)

    def test_whether_threads_look_before_they_sleep_is_chosen(self):
        config = self.folder / "box.toml"
        config.write_text('busy_poll = "off"\n')
        for arguments, chosen in (((), "auto"), (("--busy-poll", "off"), "off"),
                                  (("--config", str(config)), "off"),
                                  (("--config", str(config), "--busy-poll", "auto"), "auto")):
            with self.subTest(arguments), self.server(*arguments) as server:
                status = self.run_json("status", "--connect", server.address)
                self.assertEqual(status["busy_poll"], chosen)
        self.assert_fails(["serve", "--preset", "laptop", "--busy-poll", "on"], program.USAGE,
                          "auto")

    def faults(self, server, of="eth_ports"):
        status = self.run_json("status", "--connect", server.address)
        return {one["id"]: one["fault"] for one in status[of] if one["fault"] != "healthy"}

    def test_slow_channels_of_a_device_of_ones_own_change_at_sighup(self):
        device = self.folder / "mine.toml"
        device.write_bytes(self.run_program("model", "device", "emfasys").stdout)
        config = self.folder / "box.toml"
        config.write_text(f'device = "{device}"\nchannel_faults = ["3=slow:10%"]\n')
        with self.server("--config", str(config), "--mode", "paced", "--time-scale", "1000",
                         "--set", "link.lanes=16", "--port-rate", "400Gbit/s", "--channel-fault",
                         "5=slow:50%") as server:
            self.assertEqual(self.faults(server, "dram_channels"), {3: "slow:10%", 5: "slow:50%"})
            data = os.urandom(1_000_000)
            at = ["--connect", server.address]
            self.run_program("put", "object", "-", *at, stdin=data)
            self.assertEqual(self.run_program("get", "object", *at).stdout, data)
            config.write_text(f'device = "{device}"\n')
            server.process.send_signal(signal.SIGHUP)
            self.assertTrue(program.wait_until(
                lambda: self.faults(server, "dram_channels") == {5: "slow:50%"}))
            self.assertEqual(server.stop(), OK)

    def test_faulty_ports_cost_no_byte_and_change_at_sighup(self):
        config = self.folder / "box.toml"
        config.write_text('port_faults = ["3=dead"]\n')
        with self.server("--config", str(config), "--port-fault", "5=flap:50ms") as server:
            self.assertEqual(self.faults(server), {3: "dead", 5: "flap:50ms"})
            data = os.urandom(5_000_000)
            at = ["--connect", server.address]
            self.run_program("put", "object", "-", *at, stdin=data)
            self.assertEqual(self.run_program("get", "object", *at).stdout, data)
            config.write_text('port_faults = ["8=flap:2s"]\n')
            server.process.send_signal(signal.SIGHUP)
            expected = {5: "flap:50ms", 8: "flap:2s"}
            self.assertTrue(program.wait_until(lambda: self.faults(server) == expected))
            config.write_text('port_faults = ["99=dead"]\n')  # refused, and nothing changes
            server.process.send_signal(signal.SIGHUP)
            self.assertEqual(self.run_program("get", "object", *at).stdout, data)
            self.assertEqual(self.faults(server), expected)
            self.assertEqual(server.stop(), OK)
        self.assertIn("99=dead", server.errors)

    def test_a_fault_that_no_port_can_have_is_refused(self):
        for fault, word in (("9=dead", "0 to 8"), ("3=broken", "slow:10%"),
                            ("dead", "NUMBER=FAULT"), ("3=slow:10%", "paced")):
            self.assert_fails(["serve", "--preset", "laptop", "--port-fault", fault], program.USAGE,
                              word)

    def test_the_limit_of_descriptors_is_raised_or_named(self):
        def limited(soft, hard):
            return subprocess.Popen(
                ["prlimit", f"--nofile={soft}:{hard}", program.PROGRAM, "serve", "--json",
                 *program.SMALL_BOX, "--control-socket", str(self.folder / "limit.sock")],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        process = limited(64, 4096)
        try:
            self.assertIn("ready", process.stdout.readline())
            with open(f"/proc/{process.pid}/limits", encoding="ascii") as file:
                line, = [line for line in file if line.startswith("Max open files")]
            self.assertEqual(line.split()[3:5], ["4096", "4096"])
        finally:
            process.terminate()
            process.communicate(timeout=program.STOP_SECONDS_MAX)
        process = limited(64, 64)
        _, errors = process.communicate(timeout=program.START_SECONDS_MAX)
        self.assertEqual(process.returncode, program.NO_ROOM, errors)
        self.assertIn("RLIMIT_NOFILE", errors)

    @unittest.skipIf(os.geteuid() == 0, "needs a user who may not write everywhere")
    def test_a_socket_path_that_may_not_be_written_is_named(self):
        self.assert_fails(["serve", *program.SMALL_BOX, "--control-socket", "/proc/x.sock"],
                          program.FAILURE, "/proc/x.sock")


if __name__ == "__main__":
    unittest.main()
