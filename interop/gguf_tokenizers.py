"""Ids that llama.cpp gives: of each tokenizer NAME/tokenizer.json in a folder it makes NAME.gguf, a vocabulary without a model, and
NAME.jsonl, the texts of NAME/cases.jsonl.gz with llama_tokenize's ids (special tokens count, none is added). TestGGUFTokenizers of
package tokenize reads the folder by ADAPTFLOW_GGUF_TOKENIZERS.

    python gguf_tokenizers.py TOKENIZERS OUT      (needs gguf and xllamacpp)
"""
import ctypes
import glob
import gzip
import json
import os
import sys

import gguf
import xllamacpp

# what llama.cpp calls the pre-tokenizer of each
PRE = {"gpt2": "gpt-2", "llama3": "llama-bpe", "qwen2.5": "qwen2", "falcon": "falcon", "neox": "olmo", "llama2": None, "mistral3": None,
       "phi3": None}


def write(name, tok, path):
    model = tok["model"]
    vocab = dict(model["vocab"])
    added = {a["content"]: a for a in tok["added_tokens"]}
    for content, a in added.items():
        vocab[content] = a["id"]
    size = max(vocab.values()) + 1
    tokens = ["[PAD%d]" % i for i in range(size)]
    types = [gguf.TokenType.UNUSED] * size
    spm = PRE[name] is None
    for t, i in vocab.items():
        tokens[i], types[i] = t, gguf.TokenType.NORMAL
        if t in added:
            types[i] = gguf.TokenType.CONTROL if added[t]["special"] else gguf.TokenType.USER_DEFINED
        elif spm and len(t) == 6 and t.startswith("<0x"):
            types[i] = gguf.TokenType.BYTE
    w = gguf.GGUFWriter(path, "llama")
    w.add_name(name)
    w.add_tokenizer_model("llama" if spm else "gpt2")
    w.add_token_list(tokens)
    w.add_token_types(types)
    if spm:
        w.add_token_scores([-float(i) for i in range(size)])
        types[vocab["<unk>"]] = gguf.TokenType.UNKNOWN
        for key, t in (("bos", "<s>"), ("eos", "</s>"), ("unk", "<unk>")):
            getattr(w, f"add_{key}_token_id")(vocab[t])
    else:
        w.add_tokenizer_pre(PRE[name])
        w.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in model["merges"]])
        w.add_bos_token_id(0)
        w.add_eos_token_id(0)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


class Params(ctypes.Structure):
    _fields_ = [("raw", ctypes.c_char * 512)]


def library():
    lib = ctypes.CDLL(glob.glob(os.path.join(os.path.dirname(xllamacpp.__file__), "xllamacpp*.so"))[0])
    lib.llama_backend_init()
    quiet = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *a: None)
    lib.llama_log_set(quiet, None)
    lib.quiet = quiet
    lib.llama_model_default_params.restype = Params
    lib.llama_model_load_from_file.restype = ctypes.c_void_p
    lib.llama_model_load_from_file.argtypes = [ctypes.c_char_p, Params]
    lib.llama_model_get_vocab.restype = ctypes.c_void_p
    lib.llama_model_get_vocab.argtypes = [ctypes.c_void_p]
    lib.llama_model_free.argtypes = [ctypes.c_void_p]
    lib.llama_tokenize.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32, ctypes.POINTER(ctypes.c_int32), ctypes.c_int32,
                                   ctypes.c_bool, ctypes.c_bool]
    return lib


def vocab_only(lib):
    """The default parameters with vocab_only set: the first of the trailing bools, which are false but for use_mmap."""
    p = lib.llama_model_default_params()
    b = bytearray(ctypes.string_at(ctypes.byref(p), 512))
    at = int(os.environ.get("VOCAB_ONLY_AT", "72"))
    assert b[at] == 0 and 1 in b[at + 1:at + 8], "llama_model_params has another layout: %s" % b[:96].hex()
    b[at] = 1
    ctypes.memmove(ctypes.byref(p), bytes(b), 512)
    return p


def main():
    src, out = sys.argv[1:3]
    os.makedirs(out, exist_ok=True)
    lib = library()
    for name in PRE:
        tok = json.load(open(os.path.join(src, name, "tokenizer.json")))
        path = os.path.join(out, name + ".gguf")
        write(name, tok, path)
        model = lib.llama_model_load_from_file(path.encode(), vocab_only(lib))
        assert model, path
        vocab = lib.llama_model_get_vocab(model)
        n = 0
        with open(os.path.join(out, name + ".jsonl"), "w") as f:
            for line in gzip.open(os.path.join(src, name, "cases.jsonl.gz"), "rt"):
                c = json.loads(line)
                raw = c["text"].encode()
                ids = (ctypes.c_int32 * (len(raw) + 16))()
                k = lib.llama_tokenize(vocab, raw, len(raw), ids, len(ids), False, True)
                assert k >= 0, (name, c["id"], k)
                f.write(json.dumps({"id": c["id"], "text": c["text"], "ids": list(ids[:k]), "hf": c["ids"] == list(ids[:k])}) + "\n")
                n += c["ids"] == list(ids[:k])
        lib.llama_model_free(model)
        print(f"{name}: {n} cases are those of Hugging Face's tokenizers, too")


main()
