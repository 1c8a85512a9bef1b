"""The simulators: reference, native engine and onnxruntime, and their comparison."""
