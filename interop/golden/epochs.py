"""How Hugging Face's Trainer cuts epochs into optimiser steps: epochs.py MODELS ADAPTER OUT.json.

MODELS is a folder with the model llama_gqa, ADAPTER a LoRA folder over it. Each case trains with the real Trainer; rows come in the order of train.Order's permutations for seed 42, which stand below, so that losses can be
compared step by step. With several processes only the number of steps is taken, of accelerate's sharded loader."""
import json
import sys
import tempfile

import torch
from accelerate.data_loader import BatchSamplerShard
from peft import PeftModel
from torch.utils.data import BatchSampler, DataLoader, Sampler
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

models, adapter, out = sys.argv[1:4]
torch.set_num_threads(1)
torch.manual_seed(0)
PERMS = {
    3: [[1, 0, 2], [2, 0, 1], [2, 1, 0], [1, 2, 0]],
    7: [[1, 4, 6, 3, 0, 5, 2], [2, 4, 3, 1, 6, 5, 0], [2, 5, 0, 1, 6, 4, 3], [1, 6, 5, 4, 2, 0, 3]],
    9: [[1, 7, 6, 3, 0, 5, 2, 4, 8], [2, 4, 3, 7, 6, 8, 0, 1, 5], [2, 8, 0, 1, 6, 4, 7, 3, 5], [7, 6, 5, 4, 2, 0, 3, 1, 8]],
    10: [[1, 9, 6, 3, 0, 5, 2, 4, 8, 7], [2, 4, 3, 9, 6, 8, 0, 1, 5, 7], [2, 8, 0, 1, 6, 4, 7, 3, 9, 5], [7, 9, 5, 4, 2, 0, 3, 1, 8, 6]],
}
rows = []
for i in range(10):  # of unequal length, and with some labels masked, so that no two steps have the same loss
    ids = torch.randint(3, 200, (5 + 3 * i % 11,)).tolist()
    rows.append({"ids": ids, "masked": i % 3})
CASES = [
    dict(n=7, batch=2, accumulate=1, epochs=2),
    dict(n=7, batch=2, accumulate=2, epochs=2),
    dict(n=10, batch=4, accumulate=2, epochs=1.5),
    dict(n=10, batch=4, accumulate=2, epochs=3, drop_last=True),
    dict(n=9, batch=2, accumulate=3, epochs=2, drop_last=True),
    dict(n=7, batch=3, accumulate=1, max_steps=8),
    dict(n=3, batch=4, accumulate=2, epochs=3),
    dict(n=9, batch=1, accumulate=4, epochs=1),
]


class Order(Sampler):
    def __init__(self, n):
        self.n, self.epoch = n, 0

    def __len__(self):
        return self.n

    def __iter__(self):
        self.epoch += 1
        return iter(PERMS[self.n][self.epoch - 1])


class Recorder(Trainer):
    def _get_train_sampler(self, dataset=None):
        return Order(len(self.train_dataset))

    def training_step(self, *args, **kwargs):
        loss = super().training_step(*args, **kwargs)
        self.sums[-1] += float(loss)
        return loss

    def log(self, logs, *args, **kwargs):
        if "grad_norm" in logs:
            self.norms.append(logs["grad_norm"])
            self.rates.append(logs["learning_rate"])
            self.sums.append(0.0)


def collate(batch):
    long = max(len(r["ids"]) for r in batch)
    ids = torch.zeros(len(batch), long, dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for i, r in enumerate(batch):
        k = len(r["ids"])
        ids[i, :k], mask[i, :k] = torch.tensor(r["ids"]), 1
        labels[i, r["masked"] + 1:k] = ids[i, r["masked"] + 1:k]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def arguments(c):
    return TrainingArguments(output_dir=tempfile.mkdtemp(), per_device_train_batch_size=c["batch"], gradient_accumulation_steps=c["accumulate"],
                             num_train_epochs=c.get("epochs", 3), max_steps=c.get("max_steps", -1), dataloader_drop_last=c.get("drop_last", False), learning_rate=5e-3,
                             lr_scheduler_type="linear", warmup_steps=1, logging_steps=1, save_strategy="no", report_to=[], use_cpu=True, remove_unused_columns=False,
                             disable_tqdm=True, max_grad_norm=1.0)


class Rows(list):
    pass


def trainer(c):
    base = AutoModelForCausalLM.from_pretrained(models + "/llama_gqa", attn_implementation="eager")
    t = Recorder(PeftModel.from_pretrained(base, adapter, is_trainable=True), arguments(c), data_collator=collate, train_dataset=Rows(rows[:c["n"]]))
    t.sums, t.norms, t.rates = [0.0], [], []
    return t


for c in CASES:
    t = trainer(c)
    t.train()
    c.update(steps=t.state.global_step, losses=t.sums[:-1], grad_norms=t.norms, lrs=t.rates)
    assert len(c["losses"]) == c["steps"]
counts = []
t = trainer(CASES[0])
for n in (1, 3, 7, 8, 10, 23):
    for batch in (1, 2, 4):
        for accumulate in (1, 3):
            for replicas in (1, 2, 3):
                for drop in (False, True):
                    c = dict(n=n, batch=batch, accumulate=accumulate, epochs=2.5, drop_last=drop)
                    sampler = BatchSampler(range(n), batch, drop)
                    if replicas > 1:
                        sampler = BatchSamplerShard(sampler, replicas, 0)
                    if len(sampler) == 0:  # nothing to train on: refused
                        continue
                    loader = DataLoader(Rows(rows[:1] * n), batch_sampler=sampler)
                    v = t.set_initial_training_values(arguments(c), loader, batch * accumulate * replicas)
                    counts.append([n, batch, accumulate, replicas, int(drop), v[1], v[6]])
json.dump({"rows": rows, "cases": CASES, "counts": counts}, open(out, "w"), indent=None, separators=(",", ":"))
print(len(CASES), "cases,", len(counts), "counts")
