"""llama.cpp's library, as PyPI's xllamacpp 2026.10.11549 has it, by ctypes: the log-probabilities of every token of a text in one pass, which its
server does not give. Keys and values are float32 and attention is not fused, so that differences are those of the weights."""
import ctypes
import glob
import os
import struct
import sys

import numpy as np

THREADS = 2


class Params(ctypes.Structure):
    """The library's structures of settings, of which a few fields are changed by their place."""
    _fields_ = [("b", ctypes.c_byte * 512)]

    def put(self, kind, at, value, was):
        found = struct.unpack_from(kind, bytes(self.b), at)[0]
        if found != was:
            sys.exit(f"xllamacpp: the setting at byte {at} is {found}, not {was}: another version than the one pinned")
        ctypes.memmove(ctypes.addressof(self) + at, struct.pack(kind, value), struct.calcsize(kind))


class Batch(ctypes.Structure):
    _fields_ = [("n", ctypes.c_int32), ("token", ctypes.POINTER(ctypes.c_int32)), ("embd", ctypes.c_void_p), ("pos", ctypes.POINTER(ctypes.c_int32)),
                ("n_seq", ctypes.POINTER(ctypes.c_int32)), ("seq", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))), ("logits", ctypes.POINTER(ctypes.c_int8))]


def library():
    import xllamacpp

    lib = ctypes.CDLL(glob.glob(os.path.join(os.path.dirname(xllamacpp.__file__), "*.so"))[0])
    p = ctypes.c_void_p
    for name, result, args in [
        ("llama_model_default_params", Params, []), ("llama_context_default_params", Params, []),
        ("llama_model_load_from_file", p, [ctypes.c_char_p, Params]), ("llama_init_from_model", p, [p, Params]),
        ("llama_model_get_vocab", p, [p]), ("llama_vocab_n_tokens", ctypes.c_int32, [p]),
        ("llama_tokenize", ctypes.c_int32, [p, ctypes.c_char_p, ctypes.c_int32, p, ctypes.c_int32, ctypes.c_bool, ctypes.c_bool]),
        ("llama_adapter_lora_init", p, [p, ctypes.c_char_p]), ("llama_set_adapters_lora", ctypes.c_int32, [p, p, ctypes.c_size_t, p]),
        ("llama_decode", ctypes.c_int32, [p, Batch]), ("llama_get_logits", ctypes.POINTER(ctypes.c_float), [p]),
        ("llama_batch_init", Batch, [ctypes.c_int32] * 3), ("llama_batch_free", None, [Batch]), ("llama_free", None, [p]), ("llama_model_free", None, [p]),
        ("llama_log_set", None, [p, p]), ("llama_backend_init", None, []),
    ]:
        f = getattr(lib, name)
        f.restype, f.argtypes = result, args
    lib.llama_backend_init()
    return lib


LIB = library()
LOG = []
CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda level, text, _: LOG.append(text.decode(errors="replace")))
LIB.llama_log_set(ctypes.cast(CALLBACK, ctypes.c_void_p), None)


def failed(what):
    sys.exit(f"llama.cpp: {what}\n{''.join(LOG[-30:])}")


class Model:
    """A GGUF file, with an adapter over it where lora names one."""

    def __init__(self, path, lora=None):
        LOG.clear()
        settings = LIB.llama_model_default_params()
        self.model = LIB.llama_model_load_from_file(str(path).encode(), settings) or failed(f"{path} is not loaded")
        self.vocab = LIB.llama_model_get_vocab(self.model)
        self.size = LIB.llama_vocab_n_tokens(self.vocab)
        self.lora = None
        if lora:
            self.lora = LIB.llama_adapter_lora_init(self.model, str(lora).encode()) or failed(f"{lora} is not loaded")

    def ids(self, text):
        raw = text.encode()
        out = (ctypes.c_int32 * (len(raw) + 8))()
        n = LIB.llama_tokenize(self.vocab, raw, len(raw), out, len(out), True, True)
        return list(out[:n])

    def log_probabilities(self, ids):
        """[T, V]: of the token after each."""
        settings = LIB.llama_context_default_params()
        for at, value, was in [(0, len(ids), 512), (4, len(ids), 2048), (8, len(ids), 512)]:
            settings.put("<I", at, max(value, 32), was)
        for at, value, was in [(28, THREADS, 4), (32, THREADS, 4), (52, 0, -1), (104, 0, 1), (108, 0, 1)]:
            settings.put("<i", at, value, was)
        context = LIB.llama_init_from_model(self.model, settings) or failed("no context")
        if self.lora:
            one, scale = (ctypes.c_void_p * 1)(self.lora), (ctypes.c_float * 1)(1)
            if LIB.llama_set_adapters_lora(context, ctypes.cast(one, ctypes.c_void_p), 1, ctypes.cast(scale, ctypes.c_void_p)):
                failed("the adapter is not taken")
        batch = LIB.llama_batch_init(len(ids), 0, 1)
        batch.n = len(ids)
        for i, t in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq[i], batch.logits[i] = t, i, 1, 1
            batch.seq[i][0] = 0
        if LIB.llama_decode(context, batch):
            failed("llama_decode")
        x = np.ctypeslib.as_array(LIB.llama_get_logits(context), (len(ids), self.size)).astype(np.float64)
        LIB.llama_batch_free(batch)
        LIB.llama_free(context)
        x -= x.max(-1, keepdims=True)
        return x - np.log(np.exp(x).sum(-1, keepdims=True))

    def close(self):
        LIB.llama_model_free(self.model)
