#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/vectors/inference/logits.json: what examples/inference has to compute.

Written from the definition of a decoder of Llama's kind and of the weights' numbers
(examples/inference/src/weights.h), in double precision and without paging: it shares no code with
the example. Only what the cache holds is rounded, to bf16, as the example's is. Run it without
arguments after either changed, or with --check to compare what it makes with what is checked in.
"""

import argparse
import json
import math
import pathlib
import struct
import sys

OUT = pathlib.Path(__file__).resolve().parent / "inference" / "logits.json"

LAYERS, HIDDEN, HEADS, KV_HEADS, HEAD_DIM, INTERMEDIATE, VOCABULARY = 2, 32, 4, 2, 32, 64, 128
ROPE_THETA, RMS_EPSILON = 500000.0, 1e-5
SEED = 3
ATTENTION_GAIN = 1.8
PROMPT = [(7 * i * i + 3 * i + 11) % VOCABULARY for i in range(21)]
GENERATED = 6  # tokens; the last of them lie in the second block of 16
MASK = (1 << 64) - 1


def mix(x):
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK
    return x ^ (x >> 31)


class Model:
    def __init__(self):
        self.matrices = 0
        self.embedding = self.matrix(VOCABULARY, HIDDEN, math.sqrt(HIDDEN))
        self.head = self.matrix(VOCABULARY, HIDDEN)
        self.layers = [{
            "query": self.matrix(HEADS * HEAD_DIM, HIDDEN, ATTENTION_GAIN),
            "key": self.matrix(KV_HEADS * HEAD_DIM, HIDDEN, ATTENTION_GAIN),
            "value": self.matrix(KV_HEADS * HEAD_DIM, HIDDEN),
            "out": self.matrix(HIDDEN, HEADS * HEAD_DIM),
            "gate": self.matrix(INTERMEDIATE, HIDDEN),
            "up": self.matrix(INTERMEDIATE, HIDDEN),
            "down": self.matrix(HIDDEN, INTERMEDIATE),
        } for _ in range(LAYERS)]

    def matrix(self, rows, columns, gain=1.0):
        base = mix(SEED * 4096 + self.matrices & MASK)
        self.matrices += 1
        scale = gain * math.sqrt(3 / columns)

        def weight(i):
            return scale * ((mix(base + (i + 1) * 0x9E3779B97F4A7C15 & MASK) >> 40) / 2**23 - 1)

        return [[weight(row * columns + column) for column in range(columns)]
                for row in range(rows)]


def times(matrix, vector):
    return [sum(w * x for w, x in zip(row, vector)) for row in matrix]


def norm(vector):
    scale = 1 / math.sqrt(sum(x * x for x in vector) / len(vector) + RMS_EPSILON)
    return [x * scale for x in vector]


def heads_of(vector):
    return [vector[i:i + HEAD_DIM] for i in range(0, len(vector), HEAD_DIM)]


def rotated(head, position):
    half = HEAD_DIM // 2
    out = list(head)
    for i in range(half):
        angle = position * ROPE_THETA ** (-2 * i / HEAD_DIM)
        cos, sin = math.cos(angle), math.sin(angle)
        out[i] = head[i] * cos - head[half + i] * sin
        out[half + i] = head[half + i] * cos + head[i] * sin
    return out


def bf16(x):
    bits = struct.unpack("<I", struct.pack("<f", x))[0]
    bits = bits + 0x7FFF + (bits >> 16 & 1) & 0xFFFF0000
    return struct.unpack("<f", struct.pack("<I", bits))[0]


def attended(query, keys, values):
    scores = [sum(q * k for q, k in zip(query, key)) / math.sqrt(HEAD_DIM) for key in keys]
    largest = max(scores)
    weights = [math.exp(score - largest) for score in scores]
    total = sum(weights)
    return [sum(w / total * value[i] for w, value in zip(weights, values))
            for i in range(HEAD_DIM)]


def logits_of(model, cache, token, position):
    """cache: per layer, per KV head, the keys and the values so far."""
    x = model.embedding[token]
    for layer, kept in zip(model.layers, cache):
        inner = norm(x)
        queries = [rotated(head, position) for head in heads_of(times(layer["query"], inner))]
        keys = [rotated(head, position) for head in heads_of(times(layer["key"], inner))]
        values = heads_of(times(layer["value"], inner))
        for (all_keys, all_values), key, value in zip(kept, keys, values):
            all_keys.append([bf16(element) for element in key])
            all_values.append([bf16(element) for element in value])
        seen = [element for i, query in enumerate(queries)
                for element in attended(query, *kept[i * KV_HEADS // HEADS])]
        x = [a + b for a, b in zip(x, times(layer["out"], seen))]
        inner = norm(x)
        gate, up = times(layer["gate"], inner), times(layer["up"], inner)
        hidden = [g / (1 + math.exp(-g)) * u for g, u in zip(gate, up)]
        x = [a + b for a, b in zip(x, times(layer["down"], hidden))]
    return times(model.head, norm(x))


def make():
    model = Model()
    cache = [[([], []) for _ in range(KV_HEADS)] for _ in range(LAYERS)]
    tokens, rows, margins = list(PROMPT), [], []
    for position in range(len(PROMPT) + GENERATED - 1):
        logits = logits_of(model, cache, tokens[position], position)
        if position + 1 >= len(PROMPT):
            order = sorted(range(VOCABULARY), key=lambda word: -logits[word])
            margins.append(logits[order[0]] - logits[order[1]])
            tokens.append(order[0])
            rows.append([float(f"{logit:.5g}") for logit in logits])
    return {"geometry": [LAYERS, HIDDEN, HEADS, KV_HEADS, HEAD_DIM, INTERMEDIATE, VOCABULARY],
            "seed": SEED, "prompt": PROMPT, "generated": tokens[len(PROMPT):],
            "least_margin": float(f"{min(margins):.3g}"), "logits": rows}


def differs(made, kept):
    if {key: made[key] for key in made if key != "logits"} != {
            key: kept.get(key) for key in made if key != "logits"}:
        return True
    pairs = [(a, b) for ours, theirs in zip(made["logits"], kept["logits"])
             for a, b in zip(ours, theirs)]
    return len(pairs) != GENERATED * VOCABULARY or any(abs(a - b) > 1e-3 for a, b in pairs)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    made = make()
    if not check:
        OUT.write_text(json.dumps(made) + "\n")
        return 0
    if not OUT.is_file() or differs(made, json.loads(OUT.read_text())):
        print(f"not what the definition says: {OUT.name}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
