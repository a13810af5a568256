"""Makes golden cases of what golden/trl lacks, with TRL 1.16.0 (transformers 5.24.0, peft 0.21.2, torch 2.13.0): online DPO, and GRPO and RLOO at
a temperature other than 1. The form is golden/trl's, whose generator (golden/gen/trl_more) prepares the trainers.

usage: python online.py <golden folder> <lm-en-5m folder> > /dev/null, writes train/testdata/trl/<case>/{expected.safetensors,meta.json}
"""
import argparse, os, sys

golden, lm = sys.argv[1:3]
sys.path.insert(0, os.path.join(golden, "gen", "trl_more"))
import torch, trl_more as more
from safetensors.torch import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "..", "..", "train", "testdata")
make = more.Maker(argparse.Namespace(golden=golden, tokenizer=lm, out=OUT, profile="shared", only=""))
make.adapter = "trl/adapter"  # a copy of peft/llama_gqa/lora/adapter
EOS = make.tok.eos_token_id


def online(name, lengths, skip, **kw):
    """lengths are those of the first and the second answer to each prompt; an odd one has no end."""
    from trl.experimental.online_dpo import OnlineDPOConfig, OnlineDPOTrainer
    g, n = more.gen(make.seed + 200), len(lengths)
    prompts = [[1] + make.rnd(g, 4) for _ in lengths]
    answers = [[x for x in make.rnd(g, l[k] - 1)] + [EOS if l[k] % 2 == 0 else 7] for k in range(2) for l in lengths]
    answers = [[x if x != EOS else 8 for x in a[:-1]] + a[-1:] for a in answers]
    long = max(map(len, answers))
    pids = torch.tensor(prompts * 2)
    cids = torch.tensor([a + [0] * (long - len(a)) for a in answers])
    mask = torch.tensor([[1] * len(a) + [0] * (long - len(a)) for a in answers])
    rewards = [float(x) for x in torch.randn(2 * n, generator=g)]
    rewards[n] = rewards[0]  # equal ones: the first is chosen
    tr = make.ready(OnlineDPOTrainer(
        model=make.base(), reward_funcs=lambda completions, **_: rewards, processing_class=make.tok, peft_config=make.lcfg(),
        train_dataset=more.Dataset.from_list([dict(prompt="Hi")] * n),
        args=OnlineDPOConfig(**{**more.COMMON, "per_device_train_batch_size": n}, max_new_tokens=long, max_length=64, **kw)))
    tr._generate = lambda *a: (pids, torch.ones_like(pids), cids, mask, None)
    loss = tr.training_step(tr.model, {"prompt": ["Hi"] * n})
    total = torch.tensor(rewards)
    ended = (cids == EOS).any(-1)
    total[~ended] -= kw.get("missing_eos_penalty") or 0
    better = total[:n] >= total[n:]
    at = torch.arange(n)
    order = torch.cat([at + (~better) * n, at + better * n])
    ids, att = torch.cat([pids, cids], 1)[order], torch.cat([torch.ones_like(pids), mask], 1)[order]
    batch = {"input_ids": ids, "attention_mask": att, "completion_mask": torch.cat([torch.zeros_like(pids), mask], 1)[order],
             "rewards": total[order], "ended": ended[order].float()}
    t = {"batch." + k: v for k, v in batch.items()} | {"loss": loss.reshape(1)}
    t |= {"grad." + k.replace(".default.", "."): p.grad for k, p in tr.model.named_parameters() if p.requires_grad}
    d = os.path.join(OUT, "trl", name)
    os.makedirs(d, exist_ok=True)
    save_file({k: v.detach().contiguous().clone() for k, v in t.items()}, os.path.join(d, "expected.safetensors"))
    metrics = {k: v[-1] for k, v in tr.stats.items() if v and k not in skip}
    more.save_json(os.path.join(d, "meta.json"), dict(
        method="online DPO", **kw, metrics=metrics, loss=float(loss), adapter=make.adapter, model="models/llama_gqa", versions=more.VERSIONS,
        note="rows: all chosen, then all rejected; rewards are less missing_eos_penalty already. Where answers have different lengths TRL sums "
             "objective/kl, entropy and what is made of them over padding, too: they are left out"))
    print(name, float(loss), metrics, file=sys.stderr)


PADDED = ("objective/kl", "objective/entropy", "objective/non_score_reward", "objective/rlhf_reward")
online("online_dpo_sigmoid", [(6, 6)] * 3 + [(6, 6)], (), beta=0.3, loss_type="sigmoid")
online("online_dpo_ipo", [(4, 7), (6, 3), (5, 5), (2, 8)], PADDED, beta=0.2, loss_type="ipo", missing_eos_penalty=1.5)


def rollouts(name, which, **kw):
    G, n, CL, pids, cids, rew = make.rollouts()
    N = n * G
    table = [float(x) for x in rew[:, 0]]
    from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer
    config, trainer = (GRPOConfig, GRPOTrainer) if which == "GRPO" else (RLOOConfig, RLOOTrainer)
    size = {"per_device_train_batch_size": N, "per_device_eval_batch_size": N}
    tr = make.ready(trainer(model=make.base(), reward_funcs=lambda completions, **_: table, processing_class=make.tok, peft_config=make.lcfg(),
                            train_dataset=more.Dataset.from_list([dict(prompt="Hi")] * 8),
                            args=config(**{**more.COMMON, **size}, num_generations=G, max_completion_length=CL, **kw)))
    make.patch(tr, pids, cids)
    b = tr._generate_and_score_completions([dict(prompt="x") for _ in range(N)])
    full, fm = torch.cat([b["prompt_ids"], b["completion_ids"]], 1), torch.cat([b["prompt_mask"], b["completion_mask"]], 1)
    with torch.no_grad():
        pl = tr._get_per_token_logps_and_entropies(tr.model, full, fm, b["completion_ids"].size(1), compute_entropy=True)[0]
    if which == "GRPO":
        b["old_per_token_logps"] = pl + 0.25 * torch.randn(pl.shape, generator=more.gen(make.seed + 82))
    else:
        b["old_logps"] = b["old_logps"] + 0.25 * torch.randn(N, generator=more.gen(make.seed + 83))
    loss = tr.compute_loss(tr.model, dict(b))
    make.finish(name, tr, b, loss, {}, dict(method=which, num_generations=G, max_completion_length=CL, **kw))


sys.stdout = sys.stderr
rollouts("grpo_temperature", "GRPO", loss_type="dapo", beta=0.04, temperature=0.7)
rollouts("rloo_temperature", "RLOO", beta=0.05, epsilon=0.2, temperature=1.3)
