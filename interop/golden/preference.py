"""Takes what the losses of preferences are over from golden/trl (TRL 1.15 and 1.16): sums of log p of each answer, losses, metrics.

usage: python preference.py <golden folder> > train/preference/testdata/cases.json
"""
import json, os, sys
from safetensors import safe_open

ROOT = os.path.join(sys.argv[1], "trl")
KEYS = ("beta loss_type loss_weights label_smoothing ld_alpha f_divergence_type f_alpha_divergence_coef use_weighting desirable_weight "
        "undesirable_weight alpha simpo_gamma cpo_alpha center_rewards_coefficient").split()


def case(name):
    meta = json.load(open(f"{ROOT}/{name}/meta.json"))
    f = safe_open(f"{ROOT}/{name}/expected.safetensors", "np")
    get = lambda k: f.get_tensor(k)
    method = meta["method"].split()[0]
    out = {"name": name, "method": method, "settings": {k: meta[k] for k in KEYS if k in meta}, "loss": float(get("loss")[0]),
           "metrics": {k.removeprefix("eval_"): v for k, v in meta.get("metrics", {}).items()}}
    if method == "DPO":
        if "policy_per_token_logps" not in f.keys():
            return None  # the sums are not there
        mask, lp, ref = get("batch.completion_mask")[:, 1:], get("policy_per_token_logps"), get("ref_per_token_logps")
        n = mask.sum(1)
        p = len(n) // 2
        rows = []
        for i in range(2 * p):
            shared, weight = min(n[i % p], n[i % p + p]), meta.get("ld_alpha")
            w, at = [], 0
            for m in mask[i]:
                at += m
                w.append(float(m) * (weight if weight is not None and at > shared else 1))
            rows.append({"logp": float((lp[i] * w).sum()), "ref": float((ref[i] * w).sum()), "n": int(n[i]),
                         "text": float((lp[i] * mask[i]).sum()), "text_n": int(n[i])})
        out["chosen"], out["rejected"] = rows[:p], rows[p:]
        if "wpo_weights" in f.keys():
            w = get("wpo_weights")
            out["weights"] = [float(a * b) for a, b in zip(w[:p], w[p:])]
    elif method == "KTO":
        out["answers"] = [{"logp": float(a), "ref": float(b)} for a, b in zip(get("policy_logps"), get("ref_logps"))]
        out["labels"] = [bool(x) for x in get("batch.label")]
        if "KL_policy_logps" in f.keys():
            out["mismatched"] = [{"logp": float(a), "ref": float(b)} for a, b in zip(get("KL_policy_logps"), get("KL_ref_logps"))]
        out["kl"] = meta["kl"]
    elif method in ("CPO", "ORPO"):
        mean = method == "ORPO" or meta["loss_type"] in ("ipo", "simpo")
        for side in ("chosen", "rejected"):
            n = (get(f"batch.{side}_labels")[:, 1:] != -100).sum(1)
            out[side] = [{"logp": float(x) * (int(k) if mean else 1), "n": int(k)} for x, k in zip(get(f"{side}_logps"), n)]
        if "nll_loss" in f.keys():  # of the batch: no answer's own is there
            n = (get("batch.chosen_attention_mask")[:, 1:] == 1).sum(1) if method == "ORPO" else [a["n"] for a in out["chosen"]]
            for a, k in zip(out["chosen"], n):
                a["text"], a["text_n"] = -float(get("nll_loss")[0]) * int(k), int(k)
    else:
        r = [float(x) for x in get("rewards").reshape(-1)]
        p = len(r) // 2
        out["method"] = "reward"
        out["chosen"], out["rejected"] = [{"logp": x} for x in r[:p]], [{"logp": x} for x in r[p:]]
        if meta.get("margin"):
            out["margins"] = [float(x) for x in get("batch.margin")]
    return out


names = sorted(n for n in os.listdir(ROOT) if n.split("_")[0] in ("dpo", "kto", "cpo", "orpo", "simpo", "alphapo", "reward"))
cases = [c for c in map(case, names) if c]
print("[" + ",\n ".join(json.dumps(c) for c in cases) + "]")
