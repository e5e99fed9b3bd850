# SPDX-License-Identifier: Apache-2.0
"""libgodbox.so as an engine in Python uses it: by ctypes, with memory of its own as the KV cache
(bindings/python/godbox.py; PyTorch's tensors differ by where their bytes are)."""

import ctypes
import os
import random
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path

from program import ProgramTest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bindings" / "python"))
import godbox  # noqa: E402

SEED = 20261128
LAYERS, BLOCKS, TOKENS, HEADS, DIM = 4, 32, 16, 2, 64
TOKEN_BYTES = DIM * 2  # bf16, of one head


class Cache:
    """K and V of an engine: `axes` as godbox.h names them, a buffer per tensor."""

    SIZES = {"L": LAYERS, "P": 2, "B": BLOCKS, "T": TOKENS, "H": HEADS}

    def __init__(self, axes, seed=None):
        self.axes = axes[:-1]  # D is what a run is made of
        runs = 1
        for axis in self.axes:
            runs *= self.SIZES[axis]
        count = (1 if "L" in axes else LAYERS) * (1 if "P" in axes else 2)
        random_bytes = random.Random(seed).randbytes if seed else bytes
        self.buffers = [ctypes.create_string_buffer(random_bytes(runs * TOKEN_BYTES),
                                                    runs * TOKEN_BYTES) for _ in range(count)]

    @property
    def tensors(self):
        return [(ctypes.addressof(buffer), len(buffer)) for buffer in self.buffers]

    def run(self, layer, plane, block, token, head):
        place = {"L": layer, "P": plane, "B": block, "T": token, "H": head}
        index = 0
        for axis in self.axes:
            index = index * self.SIZES[axis] + place[axis]
        tensor = 0
        if "P" not in self.axes:
            tensor += plane * (1 if "L" in self.axes else LAYERS)
        if "L" not in self.axes:
            tensor += layer
        return memoryview(self.buffers[tensor])[index * TOKEN_BYTES:(index + 1) * TOKEN_BYTES]

    def block(self, block, layers=range(LAYERS)):
        """A block's bytes in the order of this loop, whatever the axes."""
        return b"".join(bytes(self.run(layer, plane, block, token, head))
                        for layer in layers for plane in range(2)
                        for token in range(TOKENS) for head in range(HEADS))


def opened(pool, axes, cache, **more):
    return pool.kv_cache(layout=axes, dtype="torch.bfloat16", layers=LAYERS, blocks=BLOCKS,
                         block_tokens=TOKENS, heads=HEADS, head_dim=DIM, tensors=cache.tensors,
                         **more)


class CApiTest(ProgramTest):
    def setUp(self):
        super().setUp()
        self.box = self.server()
        self.addCleanup(self.box.__exit__)
        self.random = random.Random(SEED)

    def connected(self, **options):
        pool = godbox.Pool(options.pop("address", self.box.ready["eth_ports"][0]), **options)
        self.addCleanup(pool.close)
        return pool

    def assert_refused(self, name, text, call, *arguments, **more):
        with self.assertRaises(godbox.Error) as caught:
            call(*arguments, **more)
        self.assertEqual(caught.exception.name, name)
        self.assertIn(text, str(caught.exception))

    def test_objects_are_put_got_found_and_removed(self):
        pool = self.connected()
        data = {f"object/{size}": self.random.randbytes(size) for size in (1, 4097, 3 << 20)}
        self.assertEqual(set(pool.put(data).values()), {godbox.OK})
        self.assertEqual(set(pool.put(data).values()), {godbox.ALREADY_EXISTS})
        self.assertEqual(pool.get({name: len(each) for name, each in data.items()}), data)
        self.assertEqual(pool.get({"object/1": 2, "object/none": 1}),
                         {"object/1": None, "object/none": None})
        self.assertEqual(pool.lookup_prefix([*data, "none", "object/1"]), 3)
        self.assertEqual(pool.wait(["object/1", "", "none"], layer=3, timeout_ms=20),
                         [godbox.OK, godbox.INVALID_ARGUMENT, godbox.NOT_FOUND])
        self.assertEqual(pool.remove(["object/1", "none"]), [godbox.OK, godbox.NOT_FOUND])
        self.assertEqual(pool.lookup_prefix(data), 0)

    def test_how_long_objects_are_kept_is_said_by_their_retention(self):
        pool = self.connected()
        pool.put({f"kept/{i}": bytes(4096) for i in range(3)})
        self.assertEqual(pool.retain(["kept/0", "kept/none"], pin="hard"),
                         [godbox.OK, godbox.NOT_FOUND])
        self.assertEqual(pool.retain(["kept/1"], hard_ttl_ms=50), [godbox.OK])
        self.assertEqual(pool.retain(["kept/2"], pin="soft", soft_ttl_ms=50), [godbox.OK])
        until = time.monotonic() + 20
        while pool.lookup_prefix(["kept/1"]) and time.monotonic() < until:
            time.sleep(0.05)
        self.assertEqual([pool.lookup_prefix([f"kept/{i}"]) for i in range(3)], [1, 0, 1])
        self.assertEqual(pool.retain(["kept/0"]), [godbox.OK])
        with self.assertRaises(ValueError):
            pool.retain(["kept/0"], pin="firm")
        with self.assertRaises(ValueError):
            pool.retain(["kept/0"], hard_ttl_ms=-1)

    def test_names_are_bound_anew(self):
        pool = self.connected()
        old, new = self.random.randbytes(5000), self.random.randbytes(70000)
        self.assertEqual(pool.put({"name": old}, rebind=True), {"name": godbox.OK})
        self.assertEqual(pool.put({"name": new}), {"name": godbox.ALREADY_EXISTS})
        self.assertEqual(pool.get({"name": len(old)}), {"name": old})
        self.assertEqual(pool.put({"name": new, "other": old}, rebind=True),
                         {"name": godbox.OK, "other": godbox.OK})
        self.assertEqual(pool.get({"name": len(new), "other": len(old)}),
                         {"name": new, "other": old})

    def test_what_happens_to_objects_is_told(self):
        pool, other, stranger = (self.connected(tenant=name) for name in ("a", "a", "b"))
        events, position, lost = pool.events()
        self.assertEqual((events, lost), ([], 0))
        self.assertEqual(pool.events(position, timeout_ms=20), ([], position, 0))
        _, of_stranger, _ = stranger.events()
        stranger.put({"of b": b"1"})
        name = b"\xff\0z"
        other.put({"x": b"12", name: b"345"})
        other.put({"x": b"6789"}, rebind=True)
        other.put({"gone": b"0"})
        other.retain(["gone"], hard_ttl_ms=1)
        other.remove([name])
        told, wanted = [], [("put", b"x", 2), ("put", name, 3), ("rebind", b"x", 4),
                            ("put", b"gone", 1), ("remove", name, 3), ("expire", b"gone", 1)]
        until = time.monotonic() + 20
        while len(told) < len(wanted) and time.monotonic() < until:
            events, position, lost = pool.events(position, timeout_ms=1000)
            self.assertEqual(lost, 0)
            told += events
        self.assertEqual(sorted(event[1:] for event in told), sorted(wanted))
        self.assertEqual([event.sequence for event in told],
                         sorted({event.sequence for event in told}))
        # One that waits hears of what another does meanwhile.
        waiting = threading.Timer(0.2, other.put, [{"late": b"1"}])
        waiting.start()
        events, position, _ = pool.events(position, timeout_ms=20000)
        waiting.join()
        self.assertEqual([event[1:] for event in events], [("put", b"late", 1)])
        events, _, _ = stranger.events(of_stranger)
        self.assertEqual([event[1:] for event in events], [("put", b"of b", 1)])
        for arguments in ((None, 0, godbox._OnEvent(), None, None),
                          (ctypes.byref(ctypes.c_uint64()), 0, godbox._OnEvent(), None, None)):
            self.assertEqual(godbox._lib.events(pool._handle, *arguments), godbox.INVALID_ARGUMENT)

    def test_what_a_tenant_has_is_told(self):
        self.box.stop()
        with self.server("--tenant-quota", "a=5MiB") as box:
            address = box.ready["eth_ports"][0]
            pool, stranger = (self.connected(tenant=name, address=address) for name in ("a", "b"))
            self.assertEqual(pool.usage(), (5 << 20, 0, 0, 0, 0, 0, 0))
            pool.put({"x": bytes(1 << 20), "y": bytes(2 << 20)})
            pool.retain(["y"], pin="hard")
            self.assertEqual(pool.lookup_prefix(["none"]), 0)
            usage = pool.usage()
            self.assertEqual((usage.quota_bytes, usage.objects, usage.names_missed),
                             (5 << 20, 2, 1))
            self.assertTrue(3 << 20 <= usage.reserved_bytes < 4 << 20, usage)
            self.assertTrue(2 << 20 <= usage.held_bytes < 3 << 20, usage)
            pool.put({"z": bytes(3 << 20)})  # x goes for it
            self.assertEqual((pool.usage().objects, pool.usage().evictions), (2, 1))
            pool.remove(["y", "z"])
            self.assertEqual((pool.usage().objects, pool.usage().reserved_bytes), (0, 0))
            self.assertEqual(stranger.usage(), (0,) * 7)
            self.assertEqual(godbox._lib.usage(pool._handle, None), godbox.INVALID_ARGUMENT)
            # A program that was built with fewer fields has no more of them written.
            for size, wanted in ((24, godbox.OK), (7, godbox.INVALID_ARGUMENT),
                                 (72, godbox.INVALID_ARGUMENT)):
                usage = godbox._TenantUsage(size, objects=77)
                self.assertEqual(godbox._lib.usage(pool._handle, ctypes.byref(usage)), wanted)
                self.assertEqual((usage.size, usage.objects), (size, 77))

    def test_a_position_of_a_former_life_of_the_box_has_lost_what_was_before(self):
        pool = self.connected()
        _, position, _ = pool.events()
        pool.put({"before": b"1"})
        _, position, lost = pool.events(position)
        self.assertEqual(lost, 0)
        pool.close()
        self.box.stop()
        with self.server() as again:
            pool = self.connected(address=again.ready["eth_ports"][0])
            _, _, lost = pool.events(position)
            self.assertGreater(lost, 0)

    def test_a_kv_cache_is_stored_and_loaded_between_layouts_and_devices(self):
        layouts = [("vllm-flash-attn", "PBTHD"), ("vllm-flashinfer", "BPTHD"),
                   ("vllm-flash-attn-layers", "BLPTHD"), ("sglang-mha", "BTHD"),
                   ("BHPTD", "BHPTD")]
        addresses = [self.box.ready["eth_ports"][0], f"local:{self.box.socket}"]
        for number, (layout, axes) in enumerate(layouts):
            other, other_axes = layouts[(number + 1) % len(layouts)]
            source, target = Cache(axes, seed=SEED + number), Cache(other_axes)
            storing = self.connected(device=("none", "host")[number % 2])
            loading = self.connected(address=addresses[number % 2],
                                     device=("host", "none")[number % 2])
            names = [f"kv/{number}/{i}" for i in range(10)]
            from_blocks = self.random.sample(range(BLOCKS), 10)
            to_blocks = self.random.sample(range(BLOCKS), 10)
            kv = opened(storing, layout, source)
            self.assertEqual(kv.suffix, "#nhd-bf16-4x2x16x2x64")
            self.assertEqual(kv.layer_bytes, 2 * TOKENS * HEADS * TOKEN_BYTES)
            store = kv.store(names, from_blocks)
            for layer in range(LAYERS):
                self.assertEqual(kv.lookup_prefix(names), 0)
                store.layer(layer)
                self.assertEqual(kv.wait(names, layer, timeout_ms=20000), [godbox.OK] * 10)
            self.assertEqual(kv.wait(["kv/none", ""], timeout_ms=1),
                             [godbox.NOT_FOUND, godbox.INVALID_ARGUMENT])
            self.assertEqual(store.wait(), [godbox.OK] * 10)
            self.assertEqual(kv.lookup_prefix([*names, "kv/none"]), 10)
            loaded = opened(loading, other, target, call_bytes=20000)
            with loaded.load(names, to_blocks) as load:
                for layer in range(LAYERS):
                    load.wait_layer(layer, timeout_ms=10000)
                    for a, b in zip(from_blocks, to_blocks):
                        self.assertEqual(source.block(a, [layer]), target.block(b, [layer]))
                    self.assertIsNone(load.layer_event(layer))
                self.assertEqual(load.wait(), [godbox.OK] * 10)
                self.assertEqual(load.failed_blocks(), [])
            untouched = [block for block in range(BLOCKS) if block not in to_blocks]
            self.assertEqual({target.block(block) for block in untouched},
                             {bytes(len(target.block(0)))})
            store.close()
            kv.close()
            loaded.close()

    def test_strides_describe_what_has_no_name(self):
        pool = self.connected()
        cache, target = Cache("PBTHD", seed=1), Cache("PBTHD")
        strides = (TOKENS * HEADS * TOKEN_BYTES, HEADS * TOKEN_BYTES, TOKEN_BYTES)

        def planes(of, change=0):
            plane_bytes = BLOCKS * strides[0]
            return [(tensor, tensor[0] + plane * plane_bytes + change, *strides)
                    for plane in range(2) for tensor in of.tensors]
        shape = dict(dtype="bf16", layers=LAYERS, blocks=BLOCKS, block_tokens=TOKENS, heads=HEADS,
                     head_dim=DIM)
        kv = pool.kv_cache(planes_by_stride=planes(cache), **shape)
        with kv.store(["strides"], [3]) as store:
            for layer in range(LAYERS):
                store.layer(layer)
            self.assertEqual(store.wait(), [godbox.OK])
        loaded = pool.kv_cache(planes_by_stride=planes(target), **shape)
        self.assertEqual(loaded.load(["strides"], [30]).wait(), [godbox.OK])
        self.assertEqual(target.block(30), cache.block(3))
        self.assert_refused("invalid_argument", "not aligned", pool.kv_cache,
                            planes_by_stride=planes(cache, 1), **shape)
        self.assert_refused("invalid_argument", "outside the tensor", pool.kv_cache,
                            planes_by_stride=planes(cache, 2), **shape)

    def test_misses_name_the_blocks_to_compute(self):
        pool = self.connected()
        cache = Cache("PBTHD", seed=2)
        kv = opened(pool, "vllm-flash-attn", cache, blocks_per_object=2)
        names = [f"miss/{i}" for i in range(4)]
        with kv.store(names[:2] + names[3:], [0, 1, 2, 3, 6, 7]) as store:
            for layer in range(LAYERS):
                store.layer(layer)
            self.assertEqual(store.wait(), [godbox.OK] * 3)
        for any_order in (False, True):
            with kv.load(names, range(10, 18), any_order=any_order) as load:
                last = godbox.OK if any_order else godbox.NOT_FOUND
                self.assertEqual(load.wait(), [godbox.OK, godbox.OK, godbox.NOT_FOUND, last])
                self.assertEqual(load.failed_blocks(),
                                 [14, 15] if any_order else [14, 15, 16, 17])
        self.assertEqual(cache.block(13), cache.block(3))

    def test_wrong_input_is_refused_by_name(self):
        pool = self.connected()
        cache = Cache("PBTHD")
        self.assert_refused("invalid_argument", "is no address", godbox.Pool, "nowhere")
        self.assert_refused("connect_failed", "missing.sock", godbox.Pool,
                            f"unix:{self.folder}/missing.sock")
        self.assert_refused("invalid_argument", "none, auto, host, cuda", godbox.Pool,
                            self.box.address, device="tpu")
        self.assert_refused("invalid_argument", "nor are they axes", opened, pool, "vllm", cache)
        self.assert_refused("invalid_argument", "tensors given", opened, pool, "sglang-mha", cache)
        self.assert_refused("invalid_argument", "is not one of nhd, hnd", opened, pool,
                            "vllm-flash-attn", cache, pool_order="dhn")
        self.assert_refused("invalid_argument", "0 planes given", opened, pool, None, cache)
        kv = opened(pool, "vllm-flash-attn", cache)
        self.assert_refused("invalid_argument", "1 blocks for 2 names", kv.load, ["a", "b"], [1])
        self.assert_refused("out_of_range", "entry 1 is block 32", kv.load, ["a", "b"], [1, 32])
        self.assert_refused("invalid_argument", "named twice", kv.load, ["a", "b"], [1, 1])
        self.assert_refused("invalid_argument", "the list of names is empty", kv.store, [], [])
        self.assert_refused("unsupported", "no device", kv.load, ["a"], [1], stream=0)
        store = kv.store(["a"], [1])
        self.assert_refused("invalid_argument", "not the next", store.layer, 1)
        self.assert_refused("deadline_exceeded", "not done", store.wait, timeout_ms=1)
        self.assertEqual(godbox.status_name(-1), "unknown")
        self.assertEqual(godbox.status_name(999), "unknown")

    def test_handles_outlive_their_pool_and_a_box_that_dies(self):
        pool = self.connected(timeout_ms=2000)
        cache = Cache("PBTHD")
        kv = opened(pool, "vllm-flash-attn", cache)
        store = kv.store(["dies"], [1])
        store.layer(0)
        self.box.stop()
        for layer in range(1, LAYERS):
            store.layer(layer)
        self.assertNotEqual(store.wait(10000), [godbox.OK])
        load = kv.load(["dies"], [2])
        load.wait_layer(LAYERS - 1, 10000)
        self.assertNotEqual(load.wait(10000), [godbox.OK])
        self.assertEqual(load.failed_blocks(), [2])
        pool.close()
        self.assertEqual(load.failed_blocks(), [2])
        self.assert_refused("session_lost", "closed", kv.load, ["dies"], [2])
        self.assert_refused("session_lost", "closed", kv.lookup_prefix, ["dies"])
        load.close()
        store.close()
        kv.close()

    def test_threads_share_a_pool(self):
        pool = self.connected()
        cache = Cache("PBTHD", seed=5)
        kv = opened(pool, "vllm-flash-attn", cache)
        failures = []

        def work(number):
            try:
                for turn in range(5):
                    name = f"thread/{number}/{turn}"
                    with kv.store([name], [number]) as store:
                        for layer in range(LAYERS):
                            store.layer(layer)
                        failures.extend(s for s in store.wait() if s)
                    with kv.load([name], [16 + number]) as load:
                        failures.extend(s for s in load.wait() if s)
                    data = random.Random(name).randbytes(10000)
                    failures.extend(s for s in pool.put({name: data}).values() if s)
                    if pool.get({name: len(data)})[name] != data:
                        failures.append(name)
            except Exception as problem:  # shown by the assertion below
                failures.append(problem)
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        for number in range(8):
            self.assertEqual(cache.block(16 + number), cache.block(number))

    def test_a_device_is_taken_as_asked(self):
        host = self.connected(device="host")
        self.assertEqual(host.device_name, "host memory (no GPU)")
        self.assertIn("host", host.device_reason)
        self.assertEqual(self.connected().device_name, "none")
        self.assertIn("auto", self.connected(device="auto").device_reason)
        cache = Cache("PBTHD", seed=6)
        kv = opened(host, "vllm-flash-attn", cache)
        with kv.store(["host"], [1], stream=0) as store:
            for layer in range(LAYERS):
                store.layer(layer, stream=0)
            self.assertEqual(store.wait(), [godbox.OK])
        with kv.load(["host"], [2], stream=0) as load:
            self.assertEqual(load.wait(), [godbox.OK])
        self.assertEqual(cache.block(2), cache.block(1))

    @unittest.skipUnless(os.environ.get("GODBOX_FAKE_CUDA"), "needs the fake CUDA driver")
    def test_plain_buffers_reach_a_gpu_and_are_no_kv_cache_of_it(self):
        # The loader looks for the driver where the process began to look.
        script = """if True:
            import ctypes, os, sys
            import godbox
            pool = godbox.Pool(sys.argv[1], device="cuda")
            assert pool.data_path == "staged over tcp", pool.data_path
            data = {str(size): os.urandom(size) for size in (1, 5000, 3 << 20)}
            assert not any(pool.put(data).values())
            assert pool.get({name: len(each) for name, each in data.items()}) == data
            buffer = ctypes.create_string_buffer(131072)
            try:
                pool.kv_cache(layout="PBTHD", dtype="bf16", layers=1, blocks=16, block_tokens=16,
                              heads=2, head_dim=64, tensors=[(ctypes.addressof(buffer), 131072)])
            except godbox.Error as error:
                print(pool.device_name, error)
            pool.close()
        """
        environment = {**os.environ, "PYTHONPATH": godbox.__file__.rsplit("/", 1)[0],
                       "LD_LIBRARY_PATH": os.environ["GODBOX_FAKE_CUDA"]}
        result = subprocess.run([sys.executable, "-B", "-c", script, self.box.address],
                                env=environment, capture_output=True, text=True, timeout=60)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("fake GPU", result.stdout)
        self.assertIn("a tensor of 131072 bytes is not memory of fake GPU", result.stdout)

    def test_the_library_shows_its_own_symbols_alone(self):
        listed = subprocess.run(["nm", "-D", "--defined-only", os.environ["GODBOX_LIBRARY"]],
                                capture_output=True, text=True, check=True).stdout
        symbols = {line.split()[-1] for line in listed.splitlines()}
        self.assertIn("godbox_connect@@GODBOX_0", symbols)
        self.assertEqual({s for s in symbols if not s.startswith("godbox_")}, {"GODBOX_0"})


if __name__ == "__main__":
    unittest.main()
