# SPDX-License-Identifier: Apache-2.0
import unittest

from program import OK, USAGE, ProgramTest

COMMANDS = ("serve", "status", "put", "get", "ls", "rm", "demo", "bench", "cxl")

# Command lines that are wrong, and words that the answer has to hold.
WRONG = [
    ([], "subcommand"),
    (["fly"], "fly"),
    (["--fly"], "--fly"),
    (["serve", "--fly"], "--fly"),
    (["serve", "extra"], "extra"),
    (["serve", "--preset", "toaster"], "--preset", "toaster", "emfasys18, emfasys28"),
    (["serve", "--channels", "many"], "--channels"),
    (["serve", "--channels", "0"], "1 DRAM channel"),
    (["serve", "--channels", "65", "--super-nics", "1"], "65", "64"),
    (["serve", "--super-nics", "4", "--channels", "18"], "--channels: 18", "--super-nics 4"),
    (["serve", "--ports", "9", "--ports-per-super-nic", "1"], "--ports-per-super-nic"),
    (["serve", "--channel-size", "much"], "--channel-size", "much"),
    (["serve", "--channel-size", "100MiB"], "104857600", "268435456"),
    (["serve", "--channel-size", "0"], "0"),
    (["serve", "--tcp-port-base", "65536"], "--tcp-port-base", "65535"),
    (["serve", "--tcp-port-base", "-1"], "--tcp-port-base"),
    (["serve", "--tcp-port-base", "65530"], "65530"),
    (["serve", "--backing-limit", "lots"], "--backing-limit", "lots"),
    (["serve", "--mode", "fast"], "--mode", "fast", "free, paced"),
    (["serve", "--mode", "paced", "--time-scale", "0"], "time_scale"),
    (["serve", "--mode", "paced", "--time-scale", "nan"], "--time-scale", "finite"),
    (["serve", "--device", "toaster"], "--device", "toaster", "emfasys, vistara"),
    (["serve", "--device", "/tmp"], "--device", "/tmp"),
    (["serve", "--set", "link.lanes=9"], "link.lanes = 9", "4, 8, 16"),
    (["serve", "--set", "lanes"], "--set", "KEY=VALUE"),
    (["serve", "--port-rate", "100"], "--port-rate", "100", "Gbit/s"),
    (["serve", "--channel-fault", "3=slow:10%"], "channel_faults", "paced"),
    (["serve", "--mode", "paced", "--channel-fault", "3=dead"], "channel_faults", "slow:10%"),
    (["serve", "--eviction", "random"], "--eviction", "random", "lru, none"),
    (["serve", "--threads", "-1"], "--threads"),
    (["serve", "--config", "/not/there.toml"], "--config", "/not/there.toml", "No such file"),
    (["serve", "--config", "/tmp"], "--config", "/tmp", "directory"),
    (["status", "--timeout", "0"], "--timeout"),
    (["ls", "--timeout", "soon"], "--timeout"),
    (["ls", "--timeout", "nan"], "--timeout", "nan", "finite"),
    (["replay", "--speed", "nan"], "--speed", "nan", "finite"),
    (["replay", "--requests", "-1"], "--requests", "-1", "whole number"),
    (["replay", "--requests", "99999999999999999999"], "--requests", "2^64"),
    (["bench", "--seed", "-1"], "--seed", "-1"),
    (["bench", "--time-limit", "inf"], "--time-limit", "0.000001"),
    (["bench", "compare", "--threshold", "nan", "a", "b"], "--threshold", "finite"),
    (["model", "replay", "--limit", "nan"], "--limit", "finite"),
    (["serve", "--tenant-quota", "=5MiB"], "--tenant-quota", "=5MiB", "NAME=SIZE"),
    (["serve", "--config", "/dev/zero"], "--config", "/dev/zero", "16777216"),
    (["put", "", "/dev/null"], "NAME", "0 bytes", "512"),
    (["put", "x" * 513, "/dev/null"], "513", "512"),
    (["status", "extra"], "extra"),
    (["status", "--connect", "carrier pigeon"], "carrier pigeon"),
    (["status", "--connect", "tcp:127.0.0.1"], "tcp:127.0.0.1"),
    (["status", "--connect", "tcp:127.0.0.1:99999"], "99999"),
    (["status", "--connect", "tcp:192.0.2.1:7400"], "192.0.2.1", "loopback"),
    (["status", "--connect", "verbs:127.0.0.1"], "verbs:127.0.0.1", "verbs:HOST:PORT"),
    (["put"], "NAME"),
    (["put", "x"], "FILE"),
    (["put", "x", "y", "z"], "z"),
    (["get"], "NAME"),
    (["ls", "a", "b"], "b"),
    (["rm"], "NAME"),
    (["demo", "extra"], "extra"),
    (["demo", "--seed", "x"], "--seed"),
    (["bench", "--workload", "dance"], "--workload", "dance", "one-channel"),
    (["bench", "--transport", "pigeon"], "--transport", "local, tcp, both"),
    (["bench", "--transport", "verbs"], "--transport", "--connect verbs:HOST:PORT"),
    (["bench", "--connect", "dax:127.0.0.1:7400"], "--connect", "dax:127.0.0.1:7400"),
    (["bench", "--transport", "roce"], "--transport", "--connect roce:HOST:PORT"),
    (["bench", "--connect", "roce:127.0.0.1:7400"], "--transport", "roce", "--wire"),
    (["bench", "--connect", "tcp:127.0.0.1:7400", "--wire", "a@b"], "--wire", "a@b", "roce"),
    (["bench", "--connect", "unix:", "--channels", "9"], "--channels", "--connect"),
    (["bench", "--connect", "unix:", "--workload", "layers"], "--workload", "block, page"),
    (["bench", "--connect", "unix:", "--target", "dax"], "--connect", "--target dax"),
    (["bench", "--connect", "unix:", "--device", "host"], "--connect", "--device"),
    (["bench", "--connect", "dax:127.0.0.1:7400", "--suite", "quick"], "--connect", "dax:127"),
    (["bench", "--transport", "verbs", "--suite", "quick"], "--transport", "suite"),
    (["bench", "--op", "erase"], "--op", "erase"),
    (["bench", "--sizes", "big"], "--sizes", "big"),
    (["bench", "--sizes", "1MiB,,4MiB"], "--sizes", "empty"),
    (["bench", "--channels", "0"], "--channels", "1 to 64"),
    (["bench", "--ports", "1..99"], "--ports"),
    (["bench", "--lanes", "17"], "--lanes", "16"),
    (["bench", "--lanes", "auto,2"], "--lanes", "or auto"),
    (["bench", "--crc", "maybe"], "--crc"),
    (["bench", "--working-set", "none"], "--working-set"),
    (["bench", "--working-set", "1MiB", "--sizes", "4MiB"], "--working-set"),
    (["bench", "--repeats", "0"], "--repeats"),
    (["bench", "--mode", "virtual"], "--mode", "virtual"),
    (["bench", "--time-scale", "fast"], "--time-scale"),
    (["bench", "--mode", "paced", "--port-rate", "quick"], "--port-rate"),
    (["bench", "--mode", "paced", "--set", "link.lanes=9"], "link.lanes = 9"),
    (["bench", "--port-rate", "100Gbit/s"], "--port-rate", "paced"),
    (["bench", "--depth", "-1"], "--depth"),
    (["bench", "--objects", "0"], "--objects"),
    (["bench", "--keys", "1"], "--keys"),
    (["bench", "--mode", "paced", "--workload", "scaling", "--working-set", "16MiB", "--sizes",
      "20MiB"], "--sizes", "20 MiB", "--working-set 16 MiB"),
    (["bench", "--working-set", "1000TiB"], "--working-set", "1000 TiB", "at most"),
    (["bench", "--workload", "one-channel", "--sizes", "4KiB"], "--sizes", "64KiB"),
    (["bench", "--workload", "one-channel", "--transport", "local"], "--transport", "local", "tcp"),
    (["bench", "--workload", "scaling"], "--mode", "free", "paced"),
    (["bench", "--workload", "paced"], "--mode", "free", "paced"),
    (["bench", "--workload", "paced", "--mode", "paced", "--working-set", "8MiB"], "--sizes",
     "3 x 4 MiB", "--working-set 8 MiB"),
    (["bench", "--workload", "paced", "--mode", "paced", "--working-set", "8MiB", "--sizes",
      "64KiB"], "--working-set", "8 MiB", "18 DRAM channels", "9 MiB"),
    (["bench", "--mode", "paced", "--time-scale", "nan"], "--time-scale", "nan"),
    (["bench", "--mode", "paced", "--time-scale", "0.5"], "--time-scale", "0.5"),
    (["bench", "--workload", "lookup", "--ports", "1,9"], "--ports", "1,9"),
]


class UsageTest(ProgramTest):
    def test_every_wrong_command_line_is_answered_with_what_is_wrong(self):
        for arguments, *words in WRONG:
            with self.subTest(arguments=arguments):
                self.assert_fails(arguments, USAGE, *words)

    def test_a_wrong_configuration_file_names_file_key_and_value(self):
        for text, *words in (
            ("speed = 3\n", "speed"),
            ('eviction = "random"\n', "eviction", "random"),
            ("super_nics = -1\n", "super_nics"),
            ("super_nics = \n", "box.toml"),
        ):
            with self.subTest(text=text):
                config = self.folder / "box.toml"
                config.write_text(text)
                self.assert_fails(["serve", "--config", config], USAGE, "box.toml", *words)

    def test_an_unknown_subcommand_is_answered_with_the_known_ones(self):
        for arguments in (["fly"], []):
            self.assert_fails(arguments, USAGE, *COMMANDS)

    def test_help_teaches_with_examples(self):
        text = self.run_program("--help", status=OK).stdout.decode()
        for command in COMMANDS:
            self.assertIn(command, text)
        self.assertIn("Exit codes", text)
        for command in COMMANDS:
            with self.subTest(command=command):
                text = self.run_program(command, "--help", status=OK).stdout.decode()
                self.assertIn("--json", text)
                self.assertTrue("Examples:" in text or command == "demo", command)
                self.assertLess(max(map(len, text.splitlines())), 160)

    def test_the_version_names_the_build(self):
        text = self.run_program("--version", status=OK).stdout.decode()
        self.assertRegex(text, r"^godbox \d+\.\d+\.\d+ \(")


if __name__ == "__main__":
    unittest.main()
