"""Hold what a running `adaptflow serve` says against `adaptflow generate`: generate_check.py URL KEY ADAPTFLOW NAME=FOLDER …

Greedy and seeded texts of each adapter are those of generate with its folder, and not those of the base.
"""

import json
import subprocess
import sys

import openai

url, key, bin, *adapters = sys.argv[1:]
client = openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=0)
base = client.models.list().data[0].id
prompts = ["The city was", "Question: How many apples does Anna have?\nAnswer:", "Once upon a time"]


def generated(folder, prompt, *settings):
    run = [bin, "generate", "--prompt", prompt, "--max-new-tokens", "24", "--json", *settings]
    if folder:
        run += ["--adapter", folder]
    return json.loads(subprocess.run(run, check=True, capture_output=True, text=True).stdout)["text"]


for name, folder in [(base, "")] + [a.split("=", 1) for a in adapters]:
    told = []
    for prompt in prompts:
        for ask, settings in ((dict(temperature=0), []), (dict(temperature=0.8, seed=7), ["--temperature", "0.8", "--seed", "7"])):
            told.append(client.completions.create(model=name, prompt=prompt, max_tokens=24, **ask).choices[0].text)
            want = generated(folder, prompt, *settings)
            assert told[-1] == want, (name, prompt, ask, told[-1], want)
    if not folder:
        plain = told
    else:
        assert told != plain, f"{name} answers as the base does"
print("serve says what generate says:", base, *adapters)
