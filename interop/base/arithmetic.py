"""Makes the prompts of the template grpo: sums of two numbers from 0 to 9 behind three that are worked out, no prompt twice.

usage: python arithmetic.py templates/assets/files/arithmetic
"""
import json, os, random, sys

random.seed(1)


def sum_of(a, b):
    return f"{a} + {b} = {a + b}\n"


seen, rows = set(), []
while len(rows) < 1200:
    numbers = [random.randint(0, 9) for _ in range(8)]
    a, b = numbers[6:]
    prompt = "".join(sum_of(*numbers[i:i + 2]) for i in (0, 2, 4)) + f"{a} + {b} ="
    if prompt not in seen:
        seen.add(prompt)
        rows.append(json.dumps({"prompt": prompt, "answer": f" {a + b}"}) + "\n")
os.makedirs(sys.argv[1], exist_ok=True)
for name, part in (("train", rows[:1000]), ("test", rows[1000:])):
    with open(os.path.join(sys.argv[1], name + ".jsonl"), "w") as f:
        f.writelines(part)
