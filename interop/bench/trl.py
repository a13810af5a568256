#!/usr/bin/env python3
"""DPO of adaptflow beside TRL's on this machine: tokens a second without padding, peak memory, accuracy and margins on held-out pairs.

    trl.py --adaptflow BIN --python PYTHON --model FOLDER --train train.jsonl --held test.jsonl [--shape smol135] [--steps 20] [--runs 3] [--dtypes fp32,bf16]

PYTHON has trl 1.16, transformers, peft and datasets. Rows have prompt, chosen and rejected. Both train LoRA of rank 16 on all linear layers with the same learning
rate, and compare with the base with the adapter off. TRL runs in each of its settings (pairs a step, sorted by length or not), and its best is taken; adaptflow packs pairs
into sequences without padding. With --shape the weights are random ones of that shape, with the tokenizer of FOLDER; held-out pairs say nothing then. Each run is a process
of its own, in turn, and medians are printed.
"""
import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

SHAPES = {"smol135": dict(model_type="llama", architectures=["LlamaForCausalLM"], hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
                          num_key_value_heads=3, vocab_size=49152, tie_word_embeddings=True, max_position_embeddings=1024, rms_norm_eps=1e-6)}
RATE, WARM, MOST = 5e-4, 2, 320
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def peer(a):
    """One training by TRL, in this process; the result is printed as JSON."""
    sys.path = [p for p in sys.path if os.path.abspath(p) != os.path.dirname(os.path.abspath(__file__))]  # where this file has the library's name
    import torch
    from datasets import Dataset, disable_progress_bars
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import DPOConfig, DPOTrainer

    disable_progress_bars()
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"  # lets fp32 products go to oneDNN, as in the other comparisons
    tok = AutoTokenizer.from_pretrained(a.model)
    tok.pad_token = tok.pad_token or tok.eos_token
    model = AutoModelForCausalLM.from_pretrained(a.model, dtype=torch.bfloat16 if a.dtypes == "bf16" else torch.float32, attn_implementation="sdpa")
    model.config.pad_token_id = tok.pad_token_id
    rows = [Dataset.from_list([json.loads(line) for line in open(f, encoding="utf-8")]) for f in (a.train, a.held)]
    by = "group_by_length" if a.sorted else "random"
    order = {"train_sampling_strategy": by} if hasattr(DPOConfig, "train_sampling_strategy") else {"group_by_length": a.sorted}  # of transformers 5 and 4
    args = DPOConfig(output_dir=tempfile.mkdtemp(), report_to="none", use_cpu=True, per_device_train_batch_size=a.pairs, per_device_eval_batch_size=8, max_length=MOST, beta=0.1,
                     max_steps=a.steps + WARM, learning_rate=RATE, lr_scheduler_type="linear", warmup_steps=WARM, gradient_checkpointing=False, bf16=False, disable_tqdm=True,
                     logging_steps=10**6, save_strategy="no", eval_strategy="no", seed=42, **order)
    trainer = DPOTrainer(model=model, args=args, train_dataset=rows[0], eval_dataset=rows[1], processing_class=tok,
                         peft_config=LoraConfig(r=16, lora_alpha=32, target_modules=TARGETS, lora_dropout=0.0, task_type="CAUSAL_LM"))
    seen, marks, inner = [0], [], trainer.compute_loss

    def compute_loss(model, inputs, *x, **k):
        if model.training:
            seen[0] += int(inputs["attention_mask"].sum())
        return inner(model, inputs, *x, **k)

    class Clock(TrainerCallback):
        def on_step_end(self, *_, **__):
            marks.append((time.time(), seen[0]))

    trainer.compute_loss = compute_loss
    trainer.add_callback(Clock())
    trainer.train()
    (t0, n0), (t1, n1) = marks[WARM - 1], marks[-1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    e = trainer.evaluate()
    print(json.dumps(dict(rate=(n1 - n0) / (t1 - t0), peak=peak, accuracy=e["eval_rewards/accuracies"], margin=e["eval_rewards/margins"], tokens=n1)))


def adaptflow(a, dtype, folder):
    out = os.path.join(folder, "out")
    shutil.rmtree(out, ignore_errors=True)
    sets = ["input=" + a.train, "eval_input=" + a.held, "general_input=[]", "model=" + a.model, "sequence_length=%d" % (2 * MOST), "batch_size=2", "rank=16", "method.lora_alpha=32",
            "steps=%d" % a.steps, "train.learning_rate=%g" % RATE, "train.warmup_steps=%d" % WARM, "responses=0", "max_new_tokens=0", "train.eval_steps=0", "evaluate.max_sequences=0",
            "model.dtype=" + {"fp32": "float32", "bf16": "bfloat16"}[dtype]]
    subprocess.run([a.adaptflow, "run", "preference-tuning", "--output", out] + [x for s in sets for x in ("--set", s)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    m = json.load(open(os.path.join(out, "metrics.json")))
    n = m["eval"]["preferences"]["after"][0]["numbers"]
    return dict(rate=m["train"]["tokens_per_second"], peak=m["train"]["peak_rss_bytes"] / 2**20, accuracy=n["rewards/accuracies"], margin=n["rewards/margins"], tokens=m["train"]["tokens"])


def random_model(a, folder):
    """A folder of random weights of a shape, with the tokenizer of the model."""
    to = os.path.join(folder, a.shape)
    code = ("import json,sys;from transformers import AutoConfig,AutoModelForCausalLM,AutoTokenizer;c=json.loads(sys.argv[1]);"
            "m=AutoModelForCausalLM.from_config(AutoConfig.for_model(c.pop('model_type'),**c));m.save_pretrained(sys.argv[2]);"
            "AutoTokenizer.from_pretrained(sys.argv[3]).save_pretrained(sys.argv[2])")
    subprocess.run([a.python, "-c", code, json.dumps(SHAPES[a.shape]), to, a.model], check=True, stdout=subprocess.DEVNULL)
    return to


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--adaptflow")
    ap.add_argument("--python", default=sys.executable)
    ap.add_argument("--model", required=True)
    ap.add_argument("--train", required=True)
    ap.add_argument("--held", required=True)
    ap.add_argument("--shape", choices=sorted(SHAPES))
    ap.add_argument("--steps", type=int, default=20)
    ap.add_argument("--runs", type=int, default=3)
    ap.add_argument("--dtypes", default="fp32,bf16")
    ap.add_argument("--settings", default="2,4,8,4s,8s", help="of TRL: pairs a step, s for batches of like length")
    ap.add_argument("--peer", action="store_true", help=argparse.SUPPRESS)
    ap.add_argument("--pairs", type=int, default=4, help=argparse.SUPPRESS)
    ap.add_argument("--sorted", action="store_true", help=argparse.SUPPRESS)
    a = ap.parse_args()
    if a.peer:
        return peer(a)
    with tempfile.TemporaryDirectory() as folder:
        if a.shape:
            a.model = random_model(a, folder)
        a.model = os.path.abspath(a.model)
        for dtype in a.dtypes.split(","):
            found = {}
            for _ in range(a.runs):
                found.setdefault("adaptflow", []).append(adaptflow(a, dtype, folder))
                for s in a.settings.split(","):
                    cmd = [a.python, os.path.abspath(__file__), "--peer", "--model", a.model, "--train", a.train, "--held", a.held, "--steps", str(a.steps), "--dtypes", dtype,
                           "--pairs", s.rstrip("s")] + (["--sorted"] if s.endswith("s") else [])
                    out = subprocess.run(cmd, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, "TRANSFORMERS_OFFLINE": "1"}).stdout
                    found.setdefault("TRL, %s pairs a step" % s, []).append(json.loads(out.strip().splitlines()[-1]))
            middle = {name: {k: statistics.median(r[k] for r in rs) for k in rs[0]} for name, rs in found.items()}
            for name, r in middle.items():
                print("%s %-24s %8.0f tokens/s %7.0f MiB  accuracy %.3f margin %+.4f after %d tokens" % (dtype, name, r["rate"], r["peak"], r["accuracy"], r["margin"], r["tokens"]))
            own, best = middle.pop("adaptflow"), max(middle.values(), key=lambda r: r["rate"])
            print("%s: %.2f times TRL's best rate, at %.2f of its memory" % (dtype, own["rate"] / best["rate"], own["peak"] / best["peak"]), flush=True)


main()
