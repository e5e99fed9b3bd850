# SPDX-License-Identifier: Apache-2.0
"""Reads the PNG files that Chromium writes: 8 bits a channel, RGB or RGBA, not interlaced.
Source: PNG (Portable Network Graphics) Specification, third edition, sections 5 and 9."""

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {2: 3, 6: 4}  # by colour type


class Picture:
    """Rows of pixels, each a tuple of red, green and blue."""

    def __init__(self, data):
        if not data.startswith(SIGNATURE):
            raise ValueError("no PNG file")
        packed = b""
        for kind, body in chunks(data):
            if kind == b"IHDR":
                self.width, self.height, depth, colour, _, _, interlace = struct.unpack(
                    ">IIBBBBB", body)
                if depth != 8 or colour not in CHANNELS or interlace:
                    raise ValueError(f"PNG with depth {depth}, colour type {colour}, "
                                     f"interlace {interlace}")
                self.channels = CHANNELS[colour]
            elif kind == b"IDAT":
                packed += body
        self.lines = unfilter(zlib.decompress(packed), self.width * self.channels, self.channels)

    def pixels(self, left, top, width, height):
        for y in range(max(top, 0), min(top + height, self.height)):
            line = self.lines[y]
            for x in range(max(left, 0), min(left + width, self.width)):
                at = x * self.channels
                yield line[at], line[at + 1], line[at + 2]


def chunks(data):
    at = len(SIGNATURE)
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        yield kind, data[at + 8:at + 8 + size]
        at += size + 12  # and the CRC


def unfilter(data, stride, step):
    lines, above = [], bytearray(stride)
    for begin in range(0, len(data), stride + 1):
        kind, line = data[begin], bytearray(data[begin + 1:begin + 1 + stride])
        if kind == 1:
            for i in range(step, stride):
                line[i] = (line[i] + line[i - step]) & 255
        elif kind == 2:
            line = bytearray((a + b) & 255 for a, b in zip(line, above))
        elif kind == 3:
            for i in range(stride):
                left = line[i - step] if i >= step else 0
                line[i] = (line[i] + (left + above[i]) // 2) & 255
        elif kind == 4:
            for i in range(stride):
                left = line[i - step] if i >= step else 0
                corner = above[i - step] if i >= step else 0
                line[i] = (line[i] + paeth(left, above[i], corner)) & 255
        lines.append(line)
        above = line
    return lines


def paeth(left, up, corner):
    guess = left + up - corner
    distances = abs(guess - left), abs(guess - up), abs(guess - corner)
    nearest = min(distances)
    if distances[0] == nearest:
        return left
    return up if distances[1] == nearest else corner
