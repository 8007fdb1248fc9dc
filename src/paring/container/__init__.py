"""`.paring`: an ONNX file with its weights entropy-coded, and back bit for bit. Imports no torch (docs/formats.md)."""
