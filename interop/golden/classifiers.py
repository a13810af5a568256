"""Logits of transformers' ForSequenceClassification over the models of model/testdata/models: classifiers.py MODELS OUT.

Each OUT/NAME.json has the architecture, the score head's weight and the logits of the three rows of the model's inputs. The padding token is 0."""
import json
import os
import sys

import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

models, out = sys.argv[1:3]
os.makedirs(out, exist_ok=True)
for name in sorted(os.listdir(models)):
    torch.manual_seed(7)
    m = AutoModelForSequenceClassification.from_pretrained(os.path.join(models, name), num_labels=3, dtype=torch.float32, attn_implementation="eager").eval()
    m.config.pad_token_id = 0
    t = load_file(os.path.join(models, name, "inputs.safetensors"))
    ids = t["input_ids"].clone()
    ids[2, -1] = 0  # a token that pooling takes for padding
    with torch.no_grad():
        m.score.weight.copy_((torch.randn(m.score.weight.shape) * 1000).round() / 1000)
        logits = m(input_ids=ids, attention_mask=t["attention_mask"]).logits
    with open(os.path.join(out, name + ".json"), "w") as f:
        json.dump(dict(architecture=type(m).__name__, score=[round(v, 3) for v in m.score.weight.flatten().tolist()], logits=logits.flatten().tolist()), f)
    print(name, type(m).__name__)
