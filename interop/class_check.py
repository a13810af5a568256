#!/usr/bin/env python3
"""transformers and HF PEFT open a classifier that adaptflow trained, with its classes, and classify the held-out texts as adaptflow did.

    class_check.py RUN VALID.csv     RUN is the output folder of `adaptflow run classification`; the file has the columns text and label
"""
import csv
import json
import sys

import torch
from peft import PeftModel
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer


@torch.no_grad()
def main(run, valid):
    folder = run + "/adapter"
    config = AutoConfig.from_pretrained(folder)
    meta = json.load(open(folder + "/adapter_config.json"))
    metrics = json.load(open(run + "/metrics.json"))["eval"]["classification"]["after"]
    assert meta["task_type"] == "SEQ_CLS", meta["task_type"]
    assert [config.id2label[i] for i in range(config.num_labels)] == metrics["labels"]
    path = meta["base_model_name_or_path"]
    model = PeftModel.from_pretrained(AutoModelForSequenceClassification.from_pretrained(path, config=config, dtype=torch.float32), folder).eval()
    tok = AutoTokenizer.from_pretrained(path)
    right = texts = 0
    loss = 0.0
    for row in csv.DictReader(open(valid, encoding="utf-8", newline="")):
        logits = model(**tok(row["text"], return_tensors="pt", return_token_type_ids=False)).logits[0]
        want = config.label2id[row["label"]]
        right += int(logits.argmax()) == want
        loss -= float(logits.log_softmax(0)[want])
        texts += 1
    print("%d texts: accuracy %.4f in PEFT, %.4f in adaptflow; loss %.6f and %.6f" % (texts, right / texts, metrics["accuracy"], loss / texts, metrics["loss"]))
    if texts != metrics["documents"] or abs(right / texts - metrics["accuracy"]) > 1.5 / texts or abs(loss / texts - metrics["loss"]) > 1e-3:
        sys.exit("they differ")


main(*sys.argv[1:])
