"""The file that ships: written as ONNX, verified against the model, described by a manifest."""
