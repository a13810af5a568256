"""GGUF files by llama.cpp's own converter of the small models in model/testdata: how it names, orders and describes each family.

    python gguf_families.py LLAMA_CPP TESTDATA OUT

LLAMA_CPP is a checkout with conversion/ and gguf-py/ (as vendored in llama_cpp_python 0.3.36); TESTDATA is model/testdata. The models have
no tokenizer, so that the files have none.
"""
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

llama_cpp, testdata, out = sys.argv[1:4]
sys.path[:0] = [llama_cpp, os.path.join(llama_cpp, "gguf-py")]
import gguf  # noqa: E402
from conversion import ModelBase, get_model_class  # noqa: E402

CASES = ["models/llama3_rope", "models/gemma2", "models/gpt2",
         "variants/gemma", "variants/gemma3_pattern", "variants/llama_linear", "variants/mistral", "variants/qwen2_yarn",
         "variants/qwen3_sliding", "variants/phi3_short", "variants/phi3_long", "variants/gptneox_tied"]

for case in CASES:
    with tempfile.TemporaryDirectory() as d:
        for f in os.listdir(os.path.join(testdata, case)):
            shutil.copy(os.path.join(testdata, case, f), d)
        config = json.load(open(os.path.join(d, "config.json")))
        vocab = config["vocab_size"]
        json.dump({"model": {"vocab": {str(i): i for i in range(vocab)}}, "added_tokens": []}, open(os.path.join(d, "tokenizer.json"), "w"))
        config.setdefault("n_ctx", config.get("n_positions"))
        json.dump(config, open(os.path.join(d, "config.json"), "w"))
        path = Path(out) / (os.path.basename(case) + ".gguf")
        try:
            cls = get_model_class(config["architectures"][0])
            m = cls(Path(d), gguf.LlamaFileType.ALL_F32, path, model_name=os.path.basename(case))
            m.set_vocab = lambda: None
            m.write()
            print(case, path.stat().st_size)
        except Exception as e:  # a family's variant that the converter does not have
            path.unlink(missing_ok=True)
            print(case, "cannot be converted:", type(e).__name__, e)
