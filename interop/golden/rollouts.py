"""Takes what the losses of rollouts are over from golden/trl (TRL 1.15 and 1.16): log p of each token, rewards, advantages, losses, metrics.

usage: python rollouts.py <golden folder> > train/preference/testdata/rollouts.json
"""
import json, math, os, sys
from safetensors import safe_open

ROOT = os.path.join(sys.argv[1], "trl")
KEYS = ("beta loss_type epsilon epsilon_high delta importance_sampling_level use_bias_correction_kl top_entropy_quantile max_completion_length "
        "sapo_temperature_pos sapo_temperature_neg vespo_k_pos vespo_lambda_pos vespo_k_neg vespo_lambda_neg normalize_advantages "
        "reward_clip_range").split()
SCALING = "num_generations reward_weights scale_rewards multi_objective_aggregation".split()


def number(x):
    return None if math.isnan(x) else float(x)


def case(name):
    meta = json.load(open(f"{ROOT}/{name}/meta.json"))
    f = safe_open(f"{ROOT}/{name}/expected.safetensors", "np")
    get = lambda k: f.get_tensor(k)
    has = set(f.keys())
    method = meta["method"].split()[0]
    mask = get("batch.completion_mask").astype(bool)
    rows = lambda x: [[float(v) for v, m in zip(r, ms) if m] for r, ms in zip(x, mask)]
    rewards = get("rewards_per_func") if "rewards_per_func" in has else get("rewards").reshape(-1, 1)
    out = {"name": name, "method": method, "settings": {k: meta[k] for k in KEYS if meta.get(k) is not None},
           "scaling": {k: meta[k] for k in SCALING if meta.get(k) is not None}, "loss": float(get("loss")[0]),
           "metrics": meta.get("metrics", {}), "rewards": [[number(x) for x in r] for r in rewards],
           "advantages": [float(x) for x in get("batch.advantages")], "logp": rows(get("policy_per_token_logps")),
           "entropy": rows(get("entropies")), "lengths": [int(m.sum()) for m in mask]}
    if "batch.num_items_in_batch" in has:
        out["items"] = int(get("batch.num_items_in_batch"))
    if "batch.old_per_token_logps" in has:
        out["old"] = rows(get("batch.old_per_token_logps"))
    else:  # of the whole answer
        out["old_sums"] = [float(x) for x in get("batch.old_logps")]
    ref = "batch.ref_per_token_logps" if "batch.ref_per_token_logps" in has else "ref_per_token_logps"
    out["ref"] = rows(get(ref))
    return out


names = sorted(n for n in os.listdir(ROOT) if n.split("_")[0] in ("grpo", "rloo"))
print("[" + ",\n ".join(json.dumps(case(n)) for n in names) + "]")
