"""The graph builder: one description of the model, said in several dialects of ONNX."""
