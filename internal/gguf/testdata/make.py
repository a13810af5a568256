"""all.gguf: metadata of every type and tensors of several, by the writer of PyPI's gguf. usage: python make.py all.gguf"""
import sys

import gguf
import numpy as np

w = gguf.GGUFWriter(sys.argv[1], "llama")
T = gguf.GGUFValueType
for t, v in [(T.UINT8, 200), (T.INT8, -100), (T.UINT16, 60000), (T.INT16, -30000), (T.UINT32, 4000000000), (T.INT32, -2000000000),
             (T.FLOAT32, 0.1), (T.BOOL, True), (T.STRING, "straße 你好"), (T.UINT64, 2**63 + 1), (T.INT64, -(2**62)), (T.FLOAT64, 1e300)]:
    w.add_key_value("one." + t.name.lower(), v, t)
    w.add_key_value("many." + t.name.lower(), [v, v], T.ARRAY, sub_type=t)
g = np.random.default_rng(1)
w.add_tensor("a.weight", g.standard_normal((3, 5), dtype=np.float32))
w.add_tensor("h.weight", g.standard_normal((2, 3, 4)).astype(np.float16))
for name in ("Q4_0", "Q8_0", "BF16"):
    t = gguf.GGMLQuantizationType[name]
    w.add_tensor(name + ".weight", gguf.quants.quantize(g.standard_normal((3, 64), dtype=np.float32), t), raw_dtype=t)
w.write_header_to_file()
w.write_kv_data_to_file()
w.write_tensors_to_file()
w.close()
