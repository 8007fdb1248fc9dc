"""Codes every array of an .npz by NNCodec's DeepCABAC, without loss; prints the bytes of each as JSON.

For each array the best of its scan orders, with and without skipped rows, its context models fitted; every stream is
decoded again, and counts if the same array comes back. Payload alone: neither headers nor the entry points of the scan
orders are counted.
"""

import json
import sys

import numpy as np
from nncodec.extensions.deepCABAC import Decoder, Encoder, HdspMode

UNARY = 11  # the standard's default length, plus one
PROFILE = 1
SCANS = (0, 1, 2, 3, 4)
OFF = (HdspMode.AlwaysOff, np.zeros(0, np.int8))


def coded(q: np.ndarray, scan: int, skip: int) -> bytes:
    """The stream."""
    encoder = Encoder()
    encoder.initCtxModels(UNARY, 1)
    empty = np.array([0 if row.any() else 1 for row in q], np.int32) if skip else np.zeros(len(q), np.int32)
    encoder.encodeLayer(q, 0, scan, PROFILE, 0, skip, empty, *OFF, 0, 0)
    return np.asarray(encoder.finish(), np.uint8).tobytes()


def decoded(stream: bytes, like: np.ndarray, scan: int) -> np.ndarray:
    """What it says."""
    found = np.zeros_like(like)
    decoder = Decoder()
    data = np.frombuffer(stream, np.uint8).copy()
    decoder.setStream(data)
    decoder.initCtxModels(UNARY)
    decoder.decodeLayerAndCreateEPs(found, 0, scan, PROFILE, 0, *OFF, 0, 0)
    return found


def main() -> None:
    sizes = {}
    with np.load(sys.argv[1]) as arrays:
        for name in arrays.files:
            q = np.ascontiguousarray(arrays[name].astype(np.int32))
            scans = SCANS if q.ndim > 1 else (0,)
            streams = {}
            for scan in scans:
                for skip in (0, 1) if q.ndim > 1 else (0,):
                    stream = coded(q, scan, skip)
                    if np.array_equal(decoded(stream, q, scan), q):
                        streams[scan, skip] = len(stream)
            best = min(streams, key=streams.__getitem__)
            sizes[name] = {"bytes": streams[best], "scan": best[0], "skip": best[1]}
    print(json.dumps(sizes))


if __name__ == "__main__":
    main()
