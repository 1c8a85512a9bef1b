"""The forms a graph leaves in: .spk archives, ONNX, NIR, Lava HDF5."""
