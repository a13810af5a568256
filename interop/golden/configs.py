"""The adapter_config.json of each method as the installed version of HF PEFT writes it by default: configs.py OUT.json VERSION adds them to the file.

A version lies in a folder of its own: pip install --no-deps --target DIR peft==VERSION, with PYTHONPATH=DIR."""
import dataclasses
import enum
import json
import os
import sys
import warnings

warnings.filterwarnings("ignore")
import peft

try:
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
except ImportError:
    from peft import PEFT_TYPE_TO_CONFIG_MAPPING

out, version = sys.argv[1:3]
assert peft.__version__ == version, peft.__version__


def plain(x):
    if isinstance(x, enum.Enum):
        return x.value
    if isinstance(x, set):
        return sorted(x)
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    return [plain(v) for v in x] if isinstance(x, (list, tuple)) else x


found = {}
for name, cls in PEFT_TYPE_TO_CONFIG_MAPPING.items():
    name = plain(name)
    for more in ({}, {"total_step": 10}):
        try:
            found[name] = plain(dataclasses.asdict(cls(task_type="CAUSAL_LM", base_model_name_or_path="base", inference_mode=True, **more)))
            break
        except (TypeError, ValueError, ImportError) as e:
            print(name, e)
table = json.load(open(out)) if os.path.exists(out) else {}
table[version] = found
json.dump(table, open(out, "w"), sort_keys=True, separators=(",", ":"))
